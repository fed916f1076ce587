//! `.patchwright.toml`: what a repository may say about itself.
//!
//! Invariant: it comes from the default branch only, holds only keys that cannot raise what a job may do or cost beyond
//! running the repository's own commands, and never overrides what the operator set.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{commands, projects};
use super::problem::{ConfigError, Place, Problem};
use super::{CommandLine, ProjectConfig, document, locate, shape};

/// The file's name, at the top of a repository.
pub const FILE_NAME: &str = ".patchwright.toml";

/// The largest file that is read, in bytes.
pub const LARGEST: usize = 64 << 10;

/// What a repository says about itself. Every key means what it means in `[[project]]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepositoryFile {
    /// Command that prepares a checkout for the tests.
    pub setup: Option<CommandLine>,
    /// Command that runs the tests.
    pub test: Option<CommandLine>,
    /// Sub-folder of a monorepo in which setup and tests run.
    pub path: Option<PathBuf>,
    /// Environments whose alerts are worked on; empty means all.
    pub environments: Option<Vec<String>>,
}

/// Reads the text of a `.patchwright.toml`. It is hostile: a person who may write to the repository wrote it.
///
/// # Errors
/// With everything that is wrong in it: too large, not TOML, unknown or forbidden keys, wrong values, a path that leaves
/// the repository, an empty command.
pub fn parse(text: &str) -> Result<RepositoryFile, ConfigError> {
    let invalid = |problems| ConfigError::Invalid { problems };
    if text.len() > LARGEST {
        let what = format!("{FILE_NAME} has {} bytes; at most {LARGEST} are read", text.len());
        return Err(invalid(vec![Problem::error("", what, "make it shorter")]));
    }
    let file: RepositoryFile =
        document::read(text, Path::new(FILE_NAME), shape::repository_file(), reserved).map_err(invalid)?;
    let problems: Vec<Problem> = file.problems().into_iter().map(|problem| placed(text, problem)).collect();
    if problems.is_empty() { Ok(file) } else { Err(invalid(problems)) }
}

impl RepositoryFile {
    /// The project with what the operator left open filled in.
    #[must_use]
    pub fn fill(&self, project: &ProjectConfig) -> ProjectConfig {
        let mut filled = project.clone();
        filled.setup = filled.setup.or_else(|| self.setup.clone());
        filled.test = filled.test.or_else(|| self.test.clone());
        filled.path = filled.path.or_else(|| self.path.clone());
        if filled.environments.is_empty() {
            filled.environments = self.environments.clone().unwrap_or_default();
        }
        filled
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(self.setup.as_ref().and_then(|command| commands::empty("setup", command)));
        problems.extend(self.test.as_ref().and_then(|command| commands::empty("test", command)));
        problems.extend(self.path.as_deref().and_then(|path| projects::escaping("path", path)));
        problems
    }
}

fn placed(text: &str, problem: Problem) -> Problem {
    let place = locate::locate(text, &problem.key);
    problem.at(place.map(|(line, column)| Place { file: PathBuf::from(FILE_NAME), line, column }))
}

/// Says of a key that exists, but not here, who can set it.
fn reserved(key: &str) -> Option<String> {
    let config = shape::config();
    let project = config.key("project").and_then(shape::Shape::items);
    if project.is_some_and(|project| project.key(key).is_some()) {
        return Some(format!("`{key}` can be set only by the operator, in `[[project]]` of patchwright.toml"));
    }
    config.key(key).map(|_| format!("`{key}` can be set only by the operator, in patchwright.toml"))
}
