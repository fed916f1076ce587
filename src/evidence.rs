//! The evidence for one alert, as plain data: what is known, where it comes from, and what is missing.
//!
//! Invariant: a part that could not be had is `Found::Missing` with a reason, never silently absent; and every part
//! says whether an outsider could have written it.

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::clock::Moment;

/// Where a piece of evidence comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// Who gave it, for people: `webhook`, `Sentry API: issue`, `git blame`.
    pub source: String,
    /// When we got it.
    pub at: Moment,
    /// Whether somebody outside the organisation could have written it (anyone who has the public DSN can post an event).
    pub outsider_can_write: bool,
}

/// A piece of evidence, or the reason why it is not there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found<T> {
    /// It is here.
    Here {
        /// The evidence.
        value: T,
        /// Where it comes from.
        from: Provenance,
    },
    /// It is not.
    Missing {
        /// Why, for a person.
        why: String,
    },
}

impl<T> Found<T> {
    /// The evidence, if it is here.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Here { value, .. } => Some(value),
            Self::Missing { .. } => None,
        }
    }

    /// Why the evidence is not here.
    pub fn why_missing(&self) -> Option<&str> {
        match self {
            Self::Here { .. } => None,
            Self::Missing { why } => Some(why),
        }
    }

    /// A missing piece.
    pub fn missing(why: impl Into<String>) -> Self {
        Self::Missing { why: why.into() }
    }
}

/// Everything that was gathered for a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Context {
    /// The alert itself.
    pub alert: Alert,
    /// The tracker's group of events.
    pub issue: Found<Issue>,
    /// The event that shows the error.
    pub event: Found<Event>,
    /// The trace across services.
    pub trace: Found<Trace>,
    /// Commits that may have caused it; hypotheses, best first.
    pub suspects: Found<Vec<Suspect>>,
    /// Source code around the in-app frames, at the commit that is worked on.
    pub code: Found<Vec<CodeExcerpt>>,
    /// What is missing of parts that are there.
    pub gaps: Vec<Gap>,
}

/// Something that could not be had, or was left out, of a part that is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// The part, for people: `suspect commits`.
    pub part: String,
    /// What, and why.
    pub why: String,
}

impl Gap {
    /// A gap in this part.
    pub fn new(part: &str, why: impl Into<String>) -> Self {
        Self { part: part.to_owned(), why: why.into() }
    }
}

impl Context {
    /// Everything that could not be had, part by part, each with the reason.
    pub fn missing(&self) -> Vec<Gap> {
        let parts = [
            ("issue", self.issue.why_missing()),
            ("event", self.event.why_missing()),
            ("trace", self.trace.why_missing()),
            ("suspect commits", self.suspects.why_missing()),
            ("code at the frames", self.code.why_missing()),
        ];
        let parts = parts.into_iter().filter_map(|(part, why)| Some(Gap::new(part, why?)));
        parts.chain(self.gaps.iter().cloned()).collect()
    }
}

/// What the tracker knows about the issue.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Issue {
    /// The tracker's id.
    pub id: String,
    /// The id that people use.
    pub short_id: Option<String>,
    /// One line that names the error.
    pub title: String,
    /// The function or route that the tracker blames.
    pub culprit: Option<String>,
    /// Level of the events.
    pub level: Option<String>,
    /// `unresolved`, `resolved`, `ignored`.
    pub status: Option<String>,
    /// `new`, `ongoing`, `regressed`, `escalating`, …
    pub substatus: Option<String>,
    /// `error`, `performance`, `cron`, `feedback`, …
    pub category: Option<String>,
    /// Number of events.
    pub events: Option<u64>,
    /// Number of users affected.
    pub users: Option<u64>,
    /// First seen, as the tracker writes it.
    pub first_seen: Option<String>,
    /// Last seen, as the tracker writes it.
    pub last_seen: Option<String>,
    /// First release that it was seen in.
    pub first_release: Option<String>,
    /// Last release that it was seen in.
    pub last_release: Option<String>,
    /// Address for a person's browser.
    pub web_url: Option<String>,
}

/// One event: the error as it happened once.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// The tracker's id.
    pub id: String,
    /// One line that names the error.
    pub title: String,
    /// A message that was logged with it.
    pub message: Option<String>,
    /// When it happened, as the tracker writes it.
    pub at: Option<String>,
    /// Programming platform, such as `python`.
    pub platform: Option<String>,
    /// Level.
    pub level: Option<String>,
    /// Environment, such as `production`.
    pub environment: Option<String>,
    /// Release.
    pub release: Option<String>,
    /// The function or route that the tracker blames.
    pub culprit: Option<String>,
    /// Trace id, 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The exceptions of the chain, the one that was raised last first.
    pub exceptions: Vec<Exception>,
    /// What happened before, oldest first.
    pub breadcrumbs: Vec<Breadcrumb>,
    /// The HTTP request, where there was one.
    pub request: Option<Request>,
    /// Tags, in the tracker's order.
    pub tags: Vec<(String, String)>,
    /// Problems that the tracker had with the event, such as a missing source map.
    pub processing_errors: Vec<String>,
    /// What else the program reported (contexts, extra data), name and printed value.
    pub more: Vec<(String, String)>,
    /// What is in the event and not in here, as counts.
    pub omitted: Vec<String>,
    /// The event as it came, redacted, as a text.
    pub raw: String,
}

/// One exception of a chain.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Exception {
    /// Class or code.
    pub kind: String,
    /// Message.
    pub value: String,
    /// Module of the class.
    pub module: Option<String>,
    /// Whether the program handled it.
    pub handled: Option<bool>,
    /// Frames, the innermost (where it was raised) first.
    pub frames: Vec<Frame>,
    /// Frames that were left out because there were too many.
    pub omitted_frames: usize,
    /// Exceptions of the chain that were left out between the one before this in the list and this one.
    pub omitted_before: usize,
}

/// One frame of a stack.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Frame {
    /// Function.
    pub function: Option<String>,
    /// File as the program names it.
    pub file: Option<String>,
    /// Absolute path on the machine that ran it.
    pub abs_path: Option<String>,
    /// Module.
    pub module: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1.
    pub column: Option<u32>,
    /// Whether the frame is the application's own code; where the tracker marks no frame as that, all count as it.
    pub in_app: bool,
    /// Source lines around it, `(number, text)`.
    pub source: Vec<(u32, String)>,
    /// Local variables, name and printed value.
    pub locals: Vec<(String, String)>,
}

/// One thing that happened before the error.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Breadcrumb {
    /// When, as the tracker writes it.
    pub at: Option<String>,
    /// Category, such as `query`.
    pub category: Option<String>,
    /// Level.
    pub level: Option<String>,
    /// Message.
    pub message: Option<String>,
    /// More data, one line of JSON.
    pub data: Option<String>,
}

/// The HTTP request during which it happened.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// Method.
    pub method: Option<String>,
    /// Address.
    pub url: Option<String>,
    /// Query string.
    pub query: Option<String>,
    /// Headers, those that identify a person or carry a secret left out.
    pub headers: Vec<(String, String)>,
    /// Body, one line of JSON.
    pub body: Option<String>,
}

/// The trace across services.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Trace {
    /// Its id.
    pub id: String,
    /// The spans that have no parent in it.
    pub roots: Vec<Span>,
    /// Spans that were left out because there were too many.
    pub omitted: u64,
    /// Whether the tracker had more than we read.
    pub more_pages: bool,
}

/// One span of a trace.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Span {
    /// Project (service) that made it.
    pub project: Option<String>,
    /// Operation, such as `http.server`.
    pub op: Option<String>,
    /// What it did.
    pub description: Option<String>,
    /// Start, in milliseconds after the trace's first span.
    pub start_ms: f64,
    /// Duration in milliseconds.
    pub duration_ms: f64,
    /// Status, where it is known.
    pub status: Option<String>,
    /// Titles of the errors that happened in it.
    pub errors: Vec<String>,
    /// Spans below it.
    pub children: Vec<Span>,
}

/// A commit that may have caused the error. A hypothesis, not a finding.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Suspect {
    /// Commit id.
    pub commit: String,
    /// First line of its message.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// When, as an RFC 3339 time.
    pub at: Option<String>,
    /// Why it is suspected.
    pub why: String,
    /// Its diff, cut to a limit; empty where we do not have the commit.
    pub diff: String,
}

/// Source code around a frame, as it is in the repository.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct CodeExcerpt {
    /// Path in the repository.
    pub path: String,
    /// Function of the frame.
    pub function: Option<String>,
    /// Line of the frame, from 1.
    pub line: u32,
    /// Lines, `(number, text)`.
    pub source: Vec<(u32, String)>,
    /// Whether the line in the repository reads as the event says it did.
    pub matches_event: Option<bool>,
}
