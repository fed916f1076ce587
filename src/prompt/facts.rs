//! What a pull request says, as plain data.
//!
//! Invariant: what Patchwright observed (exit codes, times, changed files) and what others claimed (agent, event,
//! commits) are different fields; only the renderer turns either into Markdown.

use std::time::Duration;

use crate::alert::Alert;
use crate::evidence::{Event, Issue, Suspect};
use crate::job::JobId;
use crate::process::{Ended, Stop};

/// One run of a command that Patchwright started itself.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// How it ended.
    pub ended: Ended,
    /// How long it ran.
    pub took: Duration,
    /// The last part of its output.
    pub tail: String,
}

impl RunFacts {
    /// Whether it ended by itself with exit code 0.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self.ended, Ended::Exit(0))
    }

    /// How it ended, to be put after the name of the command: "passed (exit 0)".
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.ended {
            Ended::Exit(0) => "passed (exit 0)".to_owned(),
            Ended::Exit(code) => format!("failed (exit {code})"),
            Ended::Signal(signal) => format!("was ended by signal {signal}"),
            Ended::Stopped(Stop::Wall(span)) => format!("was stopped after {span}"),
            Ended::Stopped(Stop::Silence(span)) => format!("was stopped after {span} without output"),
            Ended::Stopped(Stop::Output(size)) => format!("was stopped after {size} of output"),
            Ended::Stopped(Stop::Disk(size)) => format!("was stopped when its folder grew beyond {size}"),
            Ended::Stopped(Stop::Cancelled) => "was cancelled".to_owned(),
        }
    }

    /// How long it ran, in seconds.
    #[must_use]
    pub fn seconds(&self) -> String {
        format!("{:.1} s", self.took.as_secs_f64())
    }
}

/// A test command, before and after the change.
#[derive(Clone, Debug)]
pub struct TestFacts {
    /// The command, as a person would type it.
    pub command: String,
    /// On the base commit; `None` where it was not run.
    pub before: Option<RunFacts>,
    /// On the change; `None` where it was not run.
    pub after: Option<RunFacts>,
}

/// A changed file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedFile {
    /// Path in the repository.
    pub path: String,
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
}

/// What the agent says of its own work. Claims, all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentClaims {
    /// Why the error happens.
    pub root_cause: Option<String>,
    /// What it changed and why.
    pub summary: Option<String>,
    /// Tests that it added or changed.
    pub tests: Vec<String>,
    /// `low`, `medium` or `high`, in its own opinion.
    pub confidence: Option<String>,
}

/// Everything from which the pull request and the commit message are written.
#[derive(Clone, Debug)]
pub struct PullRequestFacts {
    /// The job.
    pub job: JobId,
    /// The alert.
    pub alert: Alert,
    /// The tracker's statistics, where they were to be had.
    pub issue: Option<Issue>,
    /// The event, where it was to be had.
    pub event: Option<Event>,
    /// Address of the issue on the configured tracker; never one that leads elsewhere.
    pub permalink: Option<url::Url>,
    /// Name of the agent.
    pub agent: String,
    /// What it claims.
    pub claims: AgentClaims,
    /// The tests that Patchwright ran.
    pub tests: Vec<TestFacts>,
    /// One sentence of the proof stage on what the runs show, where there is one.
    pub grade: Option<String>,
    /// The changed files.
    pub changes: Vec<ChangedFile>,
    /// The commit that the change is based on.
    pub base_commit: String,
    /// The branch to merge into.
    pub base_branch: String,
    /// The branch that holds the change.
    pub branch: String,
    /// Whether the pull request is files in a folder, without a button to merge or close it.
    pub in_files: bool,
    /// Commits that may have caused it.
    pub suspects: Vec<Suspect>,
    /// Evidence that could not be had, and other things that nobody checked; a sentence each.
    pub missing: Vec<String>,
    /// Trailers of the commit, `Key: value`.
    pub trailers: Vec<String>,
    /// `Name <address>` for `Signed-off-by`, where commits are signed off.
    pub sign_off: Option<String>,
}

impl PullRequestFacts {
    /// The innermost frame of the application's own code, looking at the exception that was raised last first.
    pub(super) fn first_own_frame(&self) -> Option<&crate::evidence::Frame> {
        let exceptions = &self.event.as_ref()?.exceptions;
        exceptions.iter().flat_map(|exception| &exception.frames).find(|frame| frame.in_app)
    }
}
