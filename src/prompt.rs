//! The prompt stage: what the agent is told, and what the pull request tells people.
//!
//! Invariant: untrusted text reaches an agent only inside a fence, and a forge only made inert; templates come from us
//! or the operator, never from an alert.

pub mod body;
pub mod brief;
mod budget;
pub mod clean;
pub mod facts;
pub mod fence;
pub mod folder;
pub mod inert;
mod sample;
mod section;
mod templates;

use std::io;
use std::path::{Path, PathBuf};

use templates::Templates;

/// All templates, ready to be filled in.
#[derive(Debug)]
pub struct Prompts {
    templates: Templates,
}

impl Prompts {
    /// The built-in templates, those in the folder put in the place of their namesakes.
    ///
    /// # Errors
    /// Where the folder cannot be read, holds a file that is no template of ours, or a template cannot be parsed.
    pub fn load(dir: Option<&Path>) -> Result<Self, PromptError> {
        Ok(Self { templates: Templates::load(dir)? })
    }

    /// Fills in every template with made-up data, so that a mistake shows before the first alert does.
    ///
    /// # Errors
    /// Where a template cannot be rendered, or leaves out something without which it is of no use.
    pub fn check(&self) -> Result<(), PromptError> {
        sample::check(self)
    }
}

/// Why a prompt or a pull request could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {path}: {source}; check `prompt.dir` and the permissions", path = path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A template is too large to be one.
    #[error("{path} is larger than {max} bytes and so no template; move it out of `prompt.dir`", path = path.display())]
    TemplateTooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        max: u64,
    },
    /// The folder holds a file that replaces nothing.
    #[error("{file} replaces no template; the nearest name is `{nearest}` (docs/prompts.md lists all)", file = file.display())]
    UnknownTemplate {
        /// The file.
        file: PathBuf,
        /// The name that was probably meant.
        nearest: &'static str,
    },
    /// A template cannot be parsed or filled in.
    #[error("{file}:{line}: {what}; docs/prompts.md lists the variables")]
    Template {
        /// The file, or the name of the built-in template.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A template leaves out something that the job cannot do without.
    #[error("{file} does not use `{{{{ {variable} }}}}`, without which {why}; add it")]
    LeftOut {
        /// The file, or the name of the built-in template.
        file: String,
        /// The variable.
        variable: &'static str,
        /// What does not work without it.
        why: &'static str,
    },
    /// The budget is too small.
    #[error("the prompt needs {needed} bytes and may have {budget}; raise `prompt.budget` or shorten the template")]
    Budget {
        /// The bytes that it may have.
        budget: usize,
        /// The bytes that it needs.
        needed: usize,
    },
    /// The text for the forge is too long.
    #[error("{file} makes a text of {chars} characters and the forge takes {max}; shorten the template")]
    TooLong {
        /// The file, or the name of the built-in template.
        file: String,
        /// Its characters.
        chars: usize,
        /// The most characters.
        max: usize,
    },
    /// The made-up data of `Prompts::check` did not survive redaction.
    #[error("the sample for checking templates cannot be read back after redaction: {0}; please report this")]
    Sample(#[source] serde_json::Error),
    /// The nonce of a fence has the wrong shape.
    #[error("a fence's nonce must be 8 to 64 ASCII letters and digits; use `Fence::random`")]
    Nonce,
}
