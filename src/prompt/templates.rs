//! The templates of prompts and pull requests: built in, and replaced one by one from a folder.
//!
//! Invariant: a template is never made from anything but our own files and the operator's folder; a misspelt variable,
//! an unknown file name and an endless loop are errors, not silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::PromptError;

/// The prompt for the first attempt at a fix.
pub(super) const FIX: &str = "fix.md.j2";
/// The body of the pull request.
pub(super) const PULL_REQUEST: &str = "pull_request.md.j2";
/// The message of the commit.
pub(super) const COMMIT: &str = "commit.txt.j2";

/// Every template by its name, with its built-in text.
const BUILT_IN: [(&str, &str); 6] = [
    (FIX, include_str!("../../prompts/fix.md.j2")),
    (PULL_REQUEST, include_str!("../../prompts/pull_request.md.j2")),
    (COMMIT, include_str!("../../prompts/commit.txt.j2")),
    ("parts/untrusted.md.j2", include_str!("../../prompts/parts/untrusted.md.j2")),
    ("parts/rules.md.j2", include_str!("../../prompts/parts/rules.md.j2")),
    ("parts/result.md.j2", include_str!("../../prompts/parts/result.md.j2")),
];

/// Instructions that one rendering may take. The built-in ones need a few hundred; an endless loop needs more.
const FUEL: u64 = 200_000;
/// Largest template that is read from a folder.
const MAX_BYTES: u64 = 1 << 20;

/// All templates, parsed.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    replaced: BTreeMap<String, PathBuf>,
}

impl Templates {
    /// The built-in templates, those in the folder put in the place of their namesakes.
    pub(super) fn load(dir: Option<&Path>) -> Result<Self, PromptError> {
        let mut templates = Self { environment: environment(), replaced: BTreeMap::new() };
        for (name, text) in BUILT_IN {
            templates.add(name, text.to_owned())?;
        }
        for path in dir.map_or_else(|| Ok(Vec::new()), files)? {
            let name = path.strip_prefix(dir.unwrap_or(Path::new(""))).unwrap_or(&path).to_string_lossy().into_owned();
            if !BUILT_IN.iter().any(|(known, _)| *known == name) {
                return Err(PromptError::UnknownTemplate { nearest: nearest(&name), file: path });
            }
            let text =
                fs::read_to_string(&path).map_err(|source| PromptError::Unreadable { path: path.clone(), source })?;
            templates.replaced.insert(name.clone(), path);
            templates.add(&name, text)?;
        }
        Ok(templates)
    }

    /// Fills in a template.
    pub(super) fn render(&self, name: &'static str, view: impl Serialize) -> Result<String, PromptError> {
        let view = Value::from(Serde(view));
        self.environment
            .get_template(name)
            .and_then(|template| template.render(view))
            .map_err(|e| self.explain(name, &e))
    }

    /// Where a template comes from, for people.
    pub(super) fn origin(&self, name: &str) -> String {
        self.replaced.get(name).map_or_else(|| format!("built-in {name}"), |path| path.display().to_string())
    }

    fn add(&mut self, name: &str, text: String) -> Result<(), PromptError> {
        self.environment.add_template_owned(name.to_owned(), text).map_err(|error| self.explain(name, &error))
    }

    /// Names the file and the line in which the innermost error happened.
    fn explain(&self, asked: &str, error: &minijinja::Error) -> PromptError {
        let mut innermost = error;
        while let Some(next) = std::error::Error::source(innermost).and_then(|e| e.downcast_ref::<minijinja::Error>()) {
            innermost = next;
        }
        let file = self.origin(innermost.name().or(error.name()).unwrap_or(asked));
        let what =
            innermost.detail().map_or_else(|| innermost.kind().to_string(), |d| format!("{}: {d}", innermost.kind()));
        PromptError::Template { file, line: innermost.line().or(error.line()).unwrap_or(1), what }
    }
}

/// An environment in which mistakes are loud: strict, no escaping (this is Markdown), with a limit on work.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    // Building fails only for delimiters of one's own, and these are the default ones.
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default());
    environment
}

/// The files in a folder and one level below it, sorted; names that begin with a dot are left alone.
fn files(dir: &Path) -> Result<Vec<PathBuf>, PromptError> {
    let mut found = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let unreadable = |source| PromptError::Unreadable { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            let meta = fs::metadata(&path).map_err(|source| PromptError::Unreadable { path: path.clone(), source })?;
            match (meta.is_dir(), depth) {
                (true, 0) => folders.push((path, 1)),
                _ if meta.len() > MAX_BYTES => return Err(PromptError::TemplateTooLarge { path, max: MAX_BYTES }),
                _ => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The known name that looks most like this one.
fn nearest(name: &str) -> &'static str {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    BUILT_IN.iter().map(|(known, _)| *known).min_by_key(|known| distance(known)).unwrap_or(FIX)
}
