//! The source files that the rules are about.
//!
//! Invariant: paths are relative to the package and use `/`; a tree without files fails, since it would keep every rule.

use std::path::{Path, PathBuf};

use super::lexer::{self, Views};
use super::verdict::Breach;

/// One Rust source file.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// Such as `src/git/mirror.rs`.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) views: Views,
    /// Where the inline modules are: their braces, and whether they are for tests only.
    modules: Vec<(std::ops::Range<usize>, bool)>,
}

impl SourceFile {
    /// A file with this text.
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let views = lexer::split(&text);
        let modules = inline_modules(&views.code);
        Self { path, text, views, modules }
    }

    /// The module at the top of the crate to which the file belongs: `git` for `src/git/mirror.rs`.
    pub(super) fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split(['/', '.']).next().unwrap_or(inside)
    }

    /// How many `super` lead out of the module at this place, to the root of the crate.
    pub(super) fn depth(&self, at: usize) -> usize {
        self.path.matches('/').count() + self.modules.iter().filter(|(range, _)| range.contains(&at)).count()
    }

    /// Whether the place is in code for tests.
    pub(super) fn in_tests(&self, at: usize) -> bool {
        self.path.ends_with("/tests.rs") || self.modules.iter().any(|(range, tests)| *tests && range.contains(&at))
    }

    /// A breach at a place, given in bytes from the beginning.
    pub(super) fn breach(&self, at: usize, what: impl Into<String>) -> Breach {
        let line = self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Breach { file: self.path.clone(), line, what: what.into() }
    }
}

fn inline_modules(code: &str) -> Vec<(std::ops::Range<usize>, bool)> {
    let opening = regex::Regex::new(r"(#\[cfg\(test\)\]\s*)?\bmod\s+\w+\s*\{").unwrap();
    let found = opening.captures_iter(code).map(|captures| {
        let whole = captures.get(0).unwrap();
        (whole.start()..closing(code, whole.end() - 1), captures.get(1).is_some())
    });
    found.collect()
}

/// Where the bracket that opens at `start` is closed.
pub(super) fn closing(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// The package's folder.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder of the package.
pub(super) fn tree(folder: &str) -> Vec<SourceFile> {
    let rust = texts(folder).into_iter().filter(|(path, _)| path.ends_with(".rs"));
    let files: Vec<_> = rust.map(|(path, text)| SourceFile::new(path, text)).collect();
    assert!(!files.is_empty(), "there are no Rust files in {folder}");
    files
}

/// Paths and texts of all files below a folder of the package; other files than text are left out.
pub(super) fn texts(folder: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    paths.iter().filter_map(|path| Some((name(path), std::fs::read_to_string(path).ok()?))).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

#[test]
fn a_place_knows_its_line_its_depth_and_whether_it_is_a_test() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { { } }\n}\nfn c() {}\n";
    let file = SourceFile::new("src/git/mirror.rs", text);
    assert_eq!(file.module(), "git");
    for (word, line, depth, in_tests) in [("a()", 1, 2, false), ("b()", 4, 3, true), ("c()", 6, 2, false)] {
        let at = text.find(word).unwrap();
        assert_eq!((file.breach(at, "").line, file.depth(at), file.in_tests(at)), (line, depth, in_tests), "{word}");
    }
}

#[test]
fn the_tree_holds_the_files_of_the_package() {
    let files = tree("src");
    for path in ["src/lib.rs", "src/cli/screen.rs"] {
        assert!(files.iter().any(|file| file.path == path), "{path}");
    }
}
