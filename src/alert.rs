//! What a delivery means, in one shape for every source.
//!
//! Invariant: plain data. Every text in here was written by somebody else and is not to be trusted.

use serde::{Deserialize, Serialize};

/// Why the source tells us about an issue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The issue was seen for the first time.
    New,
    /// An alert rule of the operator's fired for the issue.
    Rule,
    /// The issue was resolved and has come back.
    Regressed,
    /// The issue happens much more often than before.
    Escalating,
    /// A person asked for this issue by name.
    Requested,
}

impl Reason {
    /// The reason in words, to be put after "the issue".
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::New => "is new",
            Self::Rule => "matched an alert rule",
            Self::Regressed => "came back after it was resolved",
            Self::Escalating => "is escalating",
            Self::Requested => "was requested by a person",
        }
    }
}

/// One alert: an issue of a project in a source, and why it matters now.
///
/// Optional fields are those that some deliveries do not carry; the context stage fills them from the source's API
/// where it can.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// Name of the source, such as `sentry`.
    pub source: String,
    /// Organisation slug at the source.
    pub org: String,
    /// Project slug at the source.
    pub project: String,
    /// The source's own id of the issue.
    pub issue: String,
    /// Why the source tells us.
    pub reason: Reason,
    /// The id that people use, such as `WEB-1F`.
    pub short_id: Option<String>,
    /// One line that names the error.
    pub title: String,
    /// `fatal`, `error`, `warning`, `info` or `debug`, where known.
    pub level: Option<String>,
    /// Environment of the event, such as `production`, where known.
    pub environment: Option<String>,
    /// Release of the event, where known.
    pub release: Option<String>,
    /// Id of the event that raised the alert, where known.
    pub event_id: Option<String>,
    /// Address of the issue for a person's browser, where known.
    pub web_url: Option<String>,
}

impl Alert {
    /// This alert of a job that waits or runs, completed by another one for the same issue: what an event says of itself is
    /// taken as a whole, and a regression stays one.
    #[must_use]
    pub fn joined_by(mut self, other: &Self) -> Self {
        if self.event_id.is_none() {
            self.event_id.clone_from(&other.event_id);
            self.environment = self.environment.or_else(|| other.environment.clone());
            self.release = self.release.or_else(|| other.release.clone());
        }
        self.level = self.level.or_else(|| other.level.clone());
        self.short_id = self.short_id.or_else(|| other.short_id.clone());
        self.web_url = self.web_url.or_else(|| other.web_url.clone());
        if other.reason == Reason::Regressed && self.reason != Reason::Requested {
            self.reason = Reason::Regressed;
        }
        self
    }

    /// The alert that wakes a job which has ended for this one without work: a regression that nobody worked on stays
    /// the reason, unless a person asks.
    #[must_use]
    pub fn followed_by(self, newer: &Self) -> Self {
        let regressed = self.reason == Reason::Regressed && newer.reason != Reason::Requested;
        Self { reason: if regressed { Reason::Regressed } else { newer.reason }, ..newer.clone() }
    }

    /// The name by which people know the issue: the short id, else `#` and the source's id.
    #[must_use]
    pub fn issue_name(&self) -> String {
        self.short_id.clone().unwrap_or_else(|| format!("#{}", self.issue))
    }
}
