//! A job: the work for one issue in one epoch, and the right to do it.
//!
//! Invariant: a job that is done runs again only through the queue, and only the holder of a `Lease` moves a running one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::clock::Moment;
use crate::outcome::Outcome;

/// The number by which people and addresses name a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.trim_start_matches('#').parse().map(Self).map_err(|_| format!("`{text}` is not a job number"))
    }
}

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a worker, or for its `run_after`.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Ended; its outcome says how.
    Done,
}

impl State {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Running, Self::Done];

    /// The name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| format!("`{text}` is not a state of a job: use one of queued, running, done"))
    }
}

/// The stages of the pipeline, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Is it worth a run?
    Triage,
    /// Fetch the repositories into their mirrors.
    Mirror,
    /// Gather the evidence.
    Context,
    /// Make the workspace.
    Checkout,
    /// Run the tests on the code as it is.
    Baseline,
    /// Write the prompt and the context folder.
    Prompt,
    /// Run the agent.
    Agent,
    /// Run the tests on the change.
    Proof,
    /// Push the branch and open the draft pull request.
    Publish,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 9] = [
        Self::Triage,
        Self::Mirror,
        Self::Context,
        Self::Checkout,
        Self::Baseline,
        Self::Prompt,
        Self::Agent,
        Self::Proof,
        Self::Publish,
    ];

    /// The name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Triage => "triage",
            Self::Mirror => "mirror",
            Self::Context => "context",
            Self::Checkout => "checkout",
            Self::Prompt => "prompt",
            Self::Baseline => "baseline",
            Self::Agent => "agent",
            Self::Proof => "proof",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|stage| stage.name() == text).ok_or_else(|| format!("`{text}` is not a stage"))
    }
}

/// What makes two alerts the same work: at most one job exists for each of these.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct JobKey {
    /// Name of the source.
    pub source: String,
    /// Organisation and project slug, `org/project`.
    pub project: String,
    /// The source's own id of the issue.
    pub issue: String,
    /// How many times the issue has come back since we know it.
    pub epoch: i64,
}

/// A job as the store knows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What it works on.
    pub key: JobKey,
    /// The alert that started (or last woke) it.
    pub alert: Alert,
    /// Where it stands.
    pub state: State,
    /// The stage it is in or was last in.
    pub stage: Option<Stage>,
    /// How many times a worker took it up since it was last queued by an alert or a person.
    pub runs: i64,
    /// The fencing number of the last lease; grows with every claim and is never reset.
    pub fence: i64,
    /// Whether a person asked for it to be stopped.
    pub cancel_requested: bool,
    /// Not to be started before this moment.
    pub run_after: Moment,
    /// When it was queued first.
    pub created_at: Moment,
    /// When it was last queued by an alert or a person.
    pub queued_at: Moment,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// The right to work on a job for a while.
///
/// Every later write names it; a write under a lease that was lost changes nothing and says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The fencing number of this claim.
    pub fence: i64,
    /// The worker that holds it.
    pub owner: String,
}

/// One call of the agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Attempt {
    /// Its number within the job, from 1.
    pub number: i64,
    /// The name of the agent.
    pub agent: String,
    /// When it was started.
    pub started_at: Moment,
    /// When it ended; `None` while it runs, and for ever if the service died with it.
    pub ended_at: Option<Moment>,
    /// How it came out, redacted.
    pub result: Option<String>,
}

/// One line of a job's live history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct JobEvent {
    /// Position in the job's history, from 1; a reader resumes after the last one that it saw.
    pub seq: i64,
    /// When it was written.
    pub at: Moment,
    /// The stage that wrote it.
    pub stage: Stage,
    /// What kind of line it is.
    pub kind: EventKind,
    /// The line, redacted.
    pub text: String,
}

/// Kinds of lines in a job's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A stage begins.
    Stage,
    /// Something that Patchwright did or found.
    Note,
    /// Output of the agent, the setup or the test command.
    Output,
    /// Something went wrong.
    Problem,
    /// The end; the text is the outcome's sentence.
    Outcome,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Stage, Self::Note, Self::Output, Self::Problem, Self::Outcome];

    /// The name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Note => "note",
            Self::Output => "output",
            Self::Problem => "problem",
            Self::Outcome => "outcome",
        }
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("`{text}` is not a kind of event"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        assert!(State::ALL.into_iter().all(|s| s.name().parse() == Ok(s)));
        assert!(Stage::ALL.into_iter().all(|s| s.name().parse() == Ok(s)));
        assert!(EventKind::ALL.into_iter().all(|k| k.name().parse() == Ok(k)));
    }
}
