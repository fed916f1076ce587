//! Which module imports which, and whether it may.
//!
//! Invariant: every module at the top of the crate has exactly one layer; what a test module imports counts, too.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::files::{SourceFile, closing};
use super::verdict::Breach;

/// The layers from below, each with its modules.
pub(super) const LAYERS: [&[&str]; 6] = [
    &["alert", "clock", "config", "evidence", "job", "limits", "outcome", "redact"],
    &["forge", "git", "process", "source", "store", "telemetry"],
    &["agent", "context", "prompt", "proof", "publish", "triage", "workspace"],
    &["pipeline"],
    &["http", "worker"],
    &["cli"],
];

/// The program stands above all layers, and so does the list of modules.
const ABOVE: [&str; 2] = ["main", "lib"];

/// One mention of a module at the top of the crate, and where it is.
struct Import {
    module: String,
    at: usize,
}

/// Modules without a layer, and names in the layers that are no module.
pub(super) fn unplaced(files: &[SourceFile]) -> Vec<Breach> {
    let modules: BTreeMap<&str, &SourceFile> = files.iter().rev().map(|file| (file.module(), file)).collect();
    let without = modules.iter().filter(|(module, _)| layer(module).is_none());
    let mut breaches: Vec<_> =
        without.map(|(module, file)| file.breach(0, format!("`{module}` has no layer"))).collect();
    for name in LAYERS.iter().copied().flatten().filter(|name| !modules.contains_key(**name)) {
        let what = format!("`{name}` is in a layer but is no module");
        breaches.push(Breach { file: "tests/it/tidy/layers.rs".to_owned(), line: 1, what });
    }
    breaches
}

/// Imports from a layer above, from no module, and ways out of a module that hide what is imported.
pub(super) fn upward(file: &SourceFile) -> Vec<Breach> {
    let Some(own) = layer(file.module()) else { return Vec::new() };
    let mut breaches: Vec<_> = imports(file)
        .into_iter()
        .filter(|import| import.module != file.module())
        .filter_map(|Import { module, at }| match layer(&module) {
            Some(theirs) if theirs <= own => None,
            Some(theirs) => {
                let from = file.module();
                Some(file.breach(at, format!("`{from}` (layer {own}) imports `{module}` (layer {theirs})")))
            }
            None => Some(file.breach(at, format!("`crate::{module}` is no module with a layer"))),
        })
        .collect();
    let chain = Regex::new(r"\b(?:super\s*::\s*)+").unwrap();
    breaches.extend(chain.find_iter(&file.views.code).filter_map(|found| {
        let steps = found.as_str().matches("super").count();
        let out = steps >= file.depth(found.start());
        out.then(|| file.breach(found.start(), "`super` leads out of the module: write `crate::`"))
    }));
    breaches
}

/// Imports that are part of a circle of modules.
pub(super) fn circular(files: &[SourceFile]) -> Vec<Breach> {
    let mut reach: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        reach.entry(file.module()).or_default().extend(imports(file).into_iter().map(|import| import.module));
    }
    loop {
        let further: Vec<_> = reach
            .iter()
            .map(|(from, to)| (*from, to.iter().filter_map(|next| reach.get(next.as_str())).flatten().cloned()))
            .map(|(from, more)| (from, more.collect::<BTreeSet<_>>()))
            .collect();
        let before: usize = reach.values().map(BTreeSet::len).sum();
        for (from, more) in further {
            reach.entry(from).or_default().extend(more);
        }
        if reach.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    let mut breaches = Vec::new();
    for file in files {
        let own = file.module();
        for Import { module, at } in imports(file).into_iter().filter(|import| import.module != own) {
            if reach.get(module.as_str()).is_some_and(|back| back.contains(own)) {
                breaches.push(file.breach(at, format!("`{own}` imports `{module}`, which leads back to `{own}`")));
            }
        }
    }
    breaches
}

fn layer(module: &str) -> Option<usize> {
    if ABOVE.contains(&module) {
        return Some(LAYERS.len());
    }
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn imports(file: &SourceFile) -> Vec<Import> {
    let code = &file.views.code;
    let path = Regex::new(r"\b(?:crate|patchwright)\s*::\s*(\{|\w+)").unwrap();
    let mut imports = Vec::new();
    for captures in path.captures_iter(code) {
        let next = captures.get(1).unwrap();
        if next.as_str() == "{" {
            for (module, at) in group(code, next.start()) {
                imports.push(Import { module, at });
            }
        } else {
            imports.push(Import { module: next.as_str().to_owned(), at: captures.get(0).unwrap().start() });
        }
    }
    imports
}

/// The first words of the entries of `{a, b::c, d::{e, f}}`.
fn group(code: &str, start: usize) -> Vec<(String, usize)> {
    let (end, mut depth, mut fresh) = (closing(code, start), 0_usize, false);
    let mut entries = Vec::new();
    for (at, byte) in code.bytes().enumerate().take(end).skip(start) {
        match byte {
            b'{' => {
                depth += 1;
                fresh = depth == 1;
            }
            b'}' => depth -= 1,
            b',' => fresh = depth == 1,
            _ if fresh && (byte.is_ascii_alphabetic() || byte == b'_') => {
                let word = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                entries.push((word, at));
                fresh = false;
            }
            _ => {}
        }
    }
    entries
}

#[test]
fn an_import_from_a_layer_above_is_found_however_it_is_written() {
    for text in [
        "use crate::pipeline::Desk;",
        "use crate::{alert::Alert, pipeline::{self, Desk}};",
        "fn run() {\n    crate::pipeline::run();\n}",
        "use crate :: pipeline;",
        "#[cfg(test)]\nmod tests { use crate::pipeline; }",
        "use patchwright::pipeline;",
        "use super::super::pipeline;",
    ] {
        assert_eq!(upward(&SourceFile::new("src/git/mirror.rs", text)).len(), 1, "{text}");
    }
    let told = &upward(&SourceFile::new("src/git.rs", "\nuse crate::worker;"))[0];
    assert_eq!((told.line, told.what.as_str()), (2, "`git` (layer 1) imports `worker` (layer 4)"));
}

#[test]
fn imports_from_below_from_the_same_layer_and_from_the_own_module_are_fine() {
    for text in [
        "use crate::alert::Alert;",
        "use crate::forge::Forge;",
        "use crate::git::{self, push};",
        "use super::Git;",
        "#[cfg(test)]\nmod tests { use super::*; use super::super::Git; }",
        "/// See [`crate::pipeline`].\nconst TEXT: &str = \"crate::pipeline\";",
    ] {
        assert_eq!(upward(&SourceFile::new("src/git/mirror.rs", text)), [], "{text}");
    }
}

#[test]
fn a_module_without_a_layer_and_a_layer_without_its_module_are_found() {
    let found = unplaced(&[SourceFile::new("src/attic/box.rs", "")]);
    assert!(found.iter().any(|breach| breach.what == "`attic` has no layer"));
    assert!(found.iter().any(|breach| breach.what == "`cli` is in a layer but is no module"));
    assert_eq!(upward(&SourceFile::new("src/git.rs", "use crate::attic;")).len(), 1);
}

#[test]
fn a_circle_is_found_over_any_number_of_modules() {
    let files = [
        SourceFile::new("src/git.rs", "use crate::forge::Forge;"),
        SourceFile::new("src/forge/github.rs", "use crate::store::Store;"),
        SourceFile::new("src/store.rs", "use crate::git::Git;"),
        SourceFile::new("src/source.rs", "use crate::git::Git;"),
    ];
    let found: Vec<_> = circular(&files).into_iter().map(|breach| breach.file).collect();
    assert_eq!(found, ["src/git.rs", "src/forge/github.rs", "src/store.rs"]);
    assert_eq!(circular(&files[1..]), []);
}
