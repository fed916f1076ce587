//! What a run saves the moment it exists, so that no later run does it again.
//!
//! Invariant: plain data; a change here must still read what an earlier version saved, or the work is done again.

use serde::{Deserialize, Serialize};

use crate::agent::handback::Handback;
use crate::git::objects::Change;
use crate::proof::{TestPlan, TestRun};

/// What the agent came up with, as objects in our mirrors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fix {
    /// Name of the agent.
    pub(super) agent: String,
    /// What it handed back, if anything.
    pub(super) handback: Option<Handback>,
    /// The last part of its output, redacted.
    pub(super) last_words: String,
    /// The repositories that it changed, the project's own first.
    pub(super) changed: Vec<Changed>,
    /// How the tests of the project's own repository are run.
    pub(super) plan: TestPlan,
    /// Their result before the change.
    pub(super) baseline: TestRun,
}

/// A changed repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Changed {
    /// `owner/name`.
    pub(super) repository: String,
    /// The commit before the change.
    pub(super) base: String,
    /// The commit with the change, pinned in our mirror.
    pub(super) commit: String,
    /// The files.
    pub(super) changes: Vec<Change>,
}

/// The tests of one changed repository, before and after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tested {
    /// `owner/name`.
    pub(super) repository: String,
    /// The commit with the change.
    pub(super) commit: String,
    /// On the code as it was.
    pub(super) before: TestRun,
    /// With the change.
    pub(super) after: TestRun,
}
