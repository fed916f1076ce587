//! The one named end of every delivery and of every job.
//!
//! Invariant: "why no pull request" is an outcome with a sentence a person understands, never silence.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::job::{JobId, Stage};

/// How a delivery or a job ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A job was queued for this delivery (deliveries only; the job's own outcome says how it went on).
    Queued {
        /// The job that works on it.
        job: JobId,
    },
    /// Pull requests were opened, or those that were already there were found again: one for each repository that changed.
    Opened {
        /// The pull requests, at least one.
        pull_requests: Vec<Opened>,
    },
    /// The delivery belongs to a job that is there already (deliveries only).
    Attached {
        /// The job that it belongs to.
        job: JobId,
    },
    /// Nothing was started.
    Ignored {
        /// Why not.
        #[serde(flatten)]
        why: Ignored,
    },
    /// Work was done, and it ended on purpose without a pull request.
    Abstained {
        /// Why.
        #[serde(flatten)]
        why: Abstained,
    },
    /// A person stopped the job.
    Cancelled,
    /// Something broke on our side or outside; a person has to look.
    Failed {
        /// The stage in which it happened.
        stage: Stage,
        /// What happened and what to do next, without secrets.
        message: String,
    },
}

/// A pull request of ours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// The repository, `owner/name`.
    pub repository: String,
    /// Address of the pull request.
    pub url: String,
    /// Whether the forge holds it as a draft; `false` where drafts are not available and policy allows it, and where a
    /// person has marked it ready meanwhile.
    pub draft: bool,
}

/// Why nothing was started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Ignored {
    /// This kind of delivery never starts a job.
    NotActionable {
        /// Resource and action, such as `issue.resolved`, and the reason.
        what: String,
    },
    /// The very same bytes were accepted before.
    Duplicate {
        /// Number of the first delivery.
        delivery: i64,
    },
    /// No `[[project]]` is configured for it.
    UnknownProject {
        /// Organisation and project slug.
        project: String,
    },
    /// The event's environment is not in the project's `environments`.
    Environment {
        /// The event's environment.
        environment: String,
    },
    /// The event's level is not in the project's `levels`.
    Level {
        /// The event's level.
        level: String,
    },
    /// A pull request of ours for this issue is still open.
    OpenPullRequest {
        /// Its address.
        url: String,
    },
}

impl Ignored {
    /// Whether this is still true of the job's alert, which may have learnt more since.
    #[must_use]
    pub fn holds_for(&self, alert: &Alert) -> bool {
        let is_or_unknown = |known: &Option<String>, judged: &str| known.as_ref().is_none_or(|known| known == judged);
        match self {
            Self::Environment { environment } => is_or_unknown(&alert.environment, environment),
            Self::Level { level } => is_or_unknown(&alert.level, level),
            _ => true,
        }
    }
}

/// Why work ended without a pull request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Abstained {
    /// The agent said that code is not the answer.
    NoFix {
        /// What the agent found out.
        diagnosis: String,
    },
    /// The agent ended without changing a file.
    NothingChanged {
        /// The agent's last words.
        diagnosis: String,
    },
    /// The agent was stopped or failed.
    AgentFailed {
        /// What happened.
        what: String,
    },
    /// The change cannot be published.
    Unpublishable {
        /// What is wrong with it.
        what: String,
    },
    /// The test command failed after the change.
    TestsFailed {
        /// What the two runs showed.
        what: String,
    },
    /// There is no test command for this repository.
    NoTests {
        /// Where we looked.
        what: String,
    },
    /// A person closed the pull request for this issue; it is not opened again until the issue comes back.
    ClosedByPerson {
        /// Address of the closed pull request.
        url: String,
    },
    /// A person works with the pull request for this issue: it is no draft any more, and only drafts are replaced.
    TakenOver {
        /// Address of the pull request.
        url: String,
    },
}

impl Abstained {
    /// The pull request for this issue is merged, so that there is nothing left to open.
    #[must_use]
    pub fn merged(url: &str) -> Self {
        Self::Unpublishable {
            what: format!(
                "the pull request for this issue is merged already ({url}); `patchwright run` asks for another"
            ),
        }
    }
}

impl Outcome {
    /// The name of the kind, as stored and as counted.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Opened { .. } => "opened",
            Self::Attached { .. } => "attached",
            Self::Ignored { .. } => "ignored",
            Self::Abstained { .. } => "abstained",
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { job } => write!(f, "queued as job {job}"),
            Self::Opened { pull_requests } => {
                for (position, opened) in pull_requests.iter().enumerate() {
                    f.write_str(if position == 0 { "opened " } else { " and " })?;
                    f.write_str(if opened.draft {
                        "draft pull request "
                    } else {
                        "pull request (no draft: a person has marked it ready, or drafts are not supported there) "
                    })?;
                    f.write_str(&opened.url)?;
                }
                Ok(())
            }
            Self::Attached { job } => write!(
                f,
                "attached to job {job}, which works or worked on the same issue; a regression is new work, but only Sentry's \
                 `issue` webhook and activity alerts say that it is one"
            ),
            Self::Ignored { why } => write!(f, "ignored: {why}"),
            Self::Abstained { why } => write!(f, "no pull request: {why}"),
            Self::Cancelled => f.write_str("cancelled by a person"),
            Self::Failed { stage, message } => write!(f, "failed in stage {stage}: {message}"),
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotActionable { what } => f.write_str(what),
            Self::Duplicate { delivery } => write!(f, "the same bytes arrived before, as delivery {delivery}"),
            Self::UnknownProject { project } => {
                write!(f, "no [[project]] in the configuration has sentry = \"{project}\"")
            }
            Self::Environment { environment } => {
                write!(f, "environment `{environment}` is not one of the project's `environments`")
            }
            Self::Level { level } => write!(f, "level `{level}` is not one of the project's `levels`"),
            Self::OpenPullRequest { url } => write!(f, "our pull request for this issue is still open: {url}"),
        }
    }
}

/// What a command printed last, as part of a sentence.
#[must_use]
pub fn last_words(text: &str) -> String {
    if text.trim().is_empty() { "it printed nothing".to_owned() } else { format!("its last words: {text}") }
}

impl fmt::Display for Abstained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFix { diagnosis } => write!(f, "the agent found no fix in code: {diagnosis}"),
            Self::NothingChanged { diagnosis } => write!(f, "the agent changed nothing; {}", last_words(diagnosis)),
            Self::AgentFailed { what } => write!(f, "the agent did not finish: {what}"),
            Self::Unpublishable { what } => write!(f, "the change cannot be published: {what}"),
            Self::TestsFailed { what } => write!(f, "the tests do not pass with the change: {what}"),
            Self::NoTests { what } => write!(f, "there is no test command: {what}"),
            Self::ClosedByPerson { url } => write!(
                f,
                "a person closed the pull request for this issue ({url}); it stays closed until the issue comes back or somebody \
                 asks for another with `patchwright run`"
            ),
            Self::TakenOver { url } => write!(
                f,
                "the pull request for this issue is no draft, so it belongs to the people who review it ({url}), and stays as it \
                 is; to have it replaced, make it a draft again, or close it, and ask with `patchwright run`"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_agent_is_said_to_have_printed_nothing() {
        let sentence = |text: &str| Abstained::NothingChanged { diagnosis: text.to_owned() }.to_string();
        assert_eq!(sentence(" \n"), "the agent changed nothing; it printed nothing");
        assert_eq!(sentence("bye"), "the agent changed nothing; its last words: bye");
    }

    #[test]
    fn a_pull_request_that_is_no_draft_is_not_said_to_be_so_for_one_reason_only() {
        let opened = Opened { repository: "acme/web".to_owned(), url: "https://forge.test/1".to_owned(), draft: false };
        let sentence = Outcome::Opened { pull_requests: vec![opened] }.to_string();
        assert!(sentence.contains("a person has marked it ready, or drafts are not supported"), "{sentence}");
    }
}
