//! Gathers the evidence for a job: from the tracker, from the deliveries, and from the repository's history.
//!
//! Invariant: a part that could not be had is `Missing` with the reason, and what is missing of a part that is there is a
//! `Gap`. The stage stops only where nothing would be left to work on: no event from anywhere, and waiting or a new token
//! may bring one.

pub mod code;
pub mod suspects;

use chrono::DateTime;
use serde_json::Value;

use crate::alert::Alert;
use crate::clock::{self, Moment};
use crate::evidence::{Event, Found, Gap, Issue, Provenance, Suspect, Trace};
use crate::source::sentry::api::{Sentry, SentryError};
use crate::source::sentry::event;
use crate::store::Delivery;

/// What the tracker and its deliveries know; the repository's part comes later, when the base commit is chosen.
#[derive(Clone, Debug)]
pub struct FromTracker {
    /// The alert, completed with what the API knows.
    pub alert: Alert,
    /// The issue.
    pub issue: Found<Issue>,
    /// The event.
    pub event: Found<Event>,
    /// The trace.
    pub trace: Found<Trace>,
    /// The tracker's suspect commits.
    pub suspects: Found<Vec<Suspect>>,
    /// The commit of the failing release, where the tracker knows it.
    pub release_commit: Option<String>,
    /// What is missing of parts that are there.
    pub gaps: Vec<Gap>,
}

/// Why there is no event now, and an agent would be paid for guessing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setback {
    /// The tracker is not there, or asks us to wait.
    Wait {
        /// When to try again.
        until: Moment,
        /// Why.
        why: String,
        /// The tracker itself named the moment.
        asked: bool,
    },
    /// The tracker refuses our token; a person has to renew it.
    Refused {
        /// What to renew.
        why: String,
    },
}

/// Asks the tracker for everything about an alert, starting from the deliveries that we hold. An alert that names no event
/// stands for the newest one in `environments`.
///
/// # Errors
/// [`Setback`] where no delivery holds an event, and the tracker may give one later.
pub async fn from_tracker(
    sentry: &Sentry,
    alert: &Alert,
    deliveries: &[Delivery],
    environments: &[String],
) -> Result<FromTracker, Setback> {
    let held = Held::of(sentry, deliveries);
    let mut gaps = Vec::new();
    let event = newest_event(sentry, alert, environments, held.event, &mut gaps).await?;
    let issue = issue(sentry, alert, held.issue, &mut gaps).await;
    let mut alert = alert.clone();
    complete(&mut alert, issue.value(), event.value());
    let trace = trace(sentry, &alert, event.value()).await;
    let suspects = suspects(sentry, &alert, event.value()).await;
    let release_commit = release_commit(sentry, &alert, &mut gaps).await;
    Ok(FromTracker { alert, issue, event, trace, suspects, release_commit, gaps })
}

/// The newest evidence in the bodies of deliveries.
#[derive(Default)]
struct Held {
    issue: Option<Found<Issue>>,
    event: Option<Found<Event>>,
}

impl Held {
    fn of(sentry: &Sentry, deliveries: &[Delivery]) -> Self {
        let mut held = Self::default();
        for delivery in deliveries.iter().rev() {
            let Ok(body) = serde_json::from_slice::<Value>(&delivery.body) else { continue };
            let at = delivery.received_at;
            let (issue, event) = parts(&body);
            let read = |json: &Value| sentry.redacted(json.clone());
            held.issue = held.issue.or_else(|| Some(from_webhook(event::issue_from(&read(issue?)), at)));
            held.event = held.event.or_else(|| Some(from_webhook(event::event_from(&read(event?)), at)));
            if held.issue.is_some() && held.event.is_some() {
                break;
            }
        }
        held
    }
}

/// The issue and the event in a webhook's body, or in an issue or event as the API shows it.
fn parts(body: &Value) -> (Option<&Value>, Option<&Value>) {
    // A request by a person wraps the payload that was given, if any.
    let body = body.get("payload").filter(|payload| payload.is_object()).unwrap_or(body);
    let data = body.get("data").unwrap_or(body);
    let is_event = body.get("event_id").or_else(|| body.get("eventID")).is_some();
    let is_issue = !is_event && body.get("id").is_some() && body.get("project").is_some_and(Value::is_object);
    let event = data.get("event").or_else(|| data.get("error")).or(is_event.then_some(body));
    let issue = data.get("issue").or(is_issue.then_some(body));
    (issue.filter(|issue| issue.is_object()), event.filter(|event| event.is_object()))
}

const NO_TOKEN: &str = "no Sentry API token is configured (set SENTRY_AUTH_TOKEN)";

fn from_webhook<T>(value: T, at: Moment) -> Found<T> {
    Found::Here { value, from: Provenance { source: "Sentry webhook".to_owned(), at, outsider_can_write: true } }
}

fn from_api<T>(value: T, source: &str, outsider_can_write: bool) -> Found<T> {
    Found::Here { value, from: Provenance { source: source.to_owned(), at: clock::now(), outsider_can_write } }
}

/// A part that an agent can do without: whatever happened is the reason why it is missing.
fn optional<T>(answer: Result<T, SentryError>, source: &str, outsider_can_write: bool) -> Found<T> {
    match answer {
        Ok(value) => from_api(value, source, outsider_can_write),
        Err(SentryError::NoToken) => Found::missing(NO_TOKEN),
        Err(error) => Found::missing(error.to_string()),
    }
}

/// What a delivery holds, in the place of what the API did not give.
fn instead<T>(held: Found<T>, part: &str, error: &SentryError, gaps: &mut Vec<Gap>) -> Found<T> {
    // Without a token nothing else was to be expected.
    if !matches!(error, SentryError::NoToken) {
        gaps.push(Gap::new(part, format!("it is the one that was delivered, since {error}")));
    }
    held
}

async fn issue(sentry: &Sentry, alert: &Alert, held: Option<Found<Issue>>, gaps: &mut Vec<Gap>) -> Found<Issue> {
    match (sentry.issue(&alert.org, &alert.issue).await, held) {
        (Err(error), Some(held)) => instead(held, "issue", &error, gaps),
        (answer, _) => optional(answer, "Sentry API: issue", true),
    }
}

async fn newest_event(
    sentry: &Sentry,
    alert: &Alert,
    environments: &[String],
    held: Option<Found<Event>>,
    gaps: &mut Vec<Gap>,
) -> Result<Found<Event>, Setback> {
    let mut answer = match &alert.event_id {
        Some(id) => sentry.event(&alert.org, &alert.issue, id).await,
        None => sentry.latest_event(&alert.org, &alert.issue, environments).await,
    };
    if let (Err(SentryError::NotFound { .. }), Some(id), None) = (&answer, &alert.event_id, &held) {
        answer = sentry.latest_event(&alert.org, &alert.issue, environments).await;
        if answer.is_ok() {
            let why = format!("Sentry has no event {id}, which the alert names; this is the latest one of the issue");
            gaps.push(Gap::new("event", why));
        }
    }
    match (answer, held) {
        (Ok(event), _) => Ok(from_api(event, "Sentry API: event", true)),
        (Err(error), Some(held)) => Ok(instead(held, "event", &error, gaps)),
        (Err(SentryError::RateLimited { retry_at, .. }), None) => {
            Err(Setback::Wait { until: retry_at, why: "Sentry's rate limit is used up".to_owned(), asked: true })
        }
        (Err(error @ SentryError::Unavailable { .. }), None) => {
            Err(Setback::Wait { until: clock::now(), why: error.to_string(), asked: false })
        }
        (Err(error @ (SentryError::Unauthorized { .. } | SentryError::Forbidden { .. })), None) => {
            Err(Setback::Refused { why: error.to_string() })
        }
        (Err(SentryError::NoToken), None) => {
            Ok(Found::missing(format!("the webhook carried no event, and {NO_TOKEN}")))
        }
        (Err(error), None) => Ok(Found::missing(error.to_string())),
    }
}

/// Fills the alert's gaps: an `issue` webhook knows neither environment nor release, an `event_alert` no short id.
fn complete(alert: &mut Alert, issue: Option<&Issue>, event: Option<&Event>) {
    if let Some(issue) = issue {
        alert.short_id = alert.short_id.take().or_else(|| issue.short_id.clone());
        alert.level = alert.level.take().or_else(|| issue.level.clone());
        alert.web_url = alert.web_url.take().or_else(|| issue.web_url.clone());
    }
    if let Some(event) = event {
        alert.environment = alert.environment.take().or_else(|| event.environment.clone());
        alert.release = alert.release.take().or_else(|| event.release.clone());
        alert.level = alert.level.take().or_else(|| event.level.clone());
        alert.event_id = alert.event_id.take().or_else(|| Some(event.id.clone()).filter(|id| !id.is_empty()));
    }
}

async fn trace(sentry: &Sentry, alert: &Alert, event: Option<&Event>) -> Found<Trace> {
    let Some(event) = event else { return Found::missing("there is no event to take a trace id from") };
    let Some(id) = event.trace_id.as_deref() else { return Found::missing("the event carries no trace id") };
    let at = event.at.as_deref().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    let answer = sentry.trace(&alert.org, id, at.map(|at| at.to_utc())).await;
    match optional(answer, "Sentry API: trace", true) {
        Found::Here { value, .. } if value.roots.is_empty() => {
            Found::missing("Sentry has no spans for the event's trace (not sampled, or too old)")
        }
        other => other,
    }
}

async fn suspects(sentry: &Sentry, alert: &Alert, event: Option<&Event>) -> Found<Vec<Suspect>> {
    let Some(event) = event.filter(|event| !event.id.is_empty()) else {
        return Found::missing("there is no event to ask suspect commits for");
    };
    let answer = sentry.suspects(&alert.org, &alert.project, &event.id).await;
    optional(answer, "Sentry API: suspect commits", false)
}

async fn release_commit(sentry: &Sentry, alert: &Alert, gaps: &mut Vec<Gap>) -> Option<String> {
    let release = alert.release.as_deref()?;
    sentry.release_commit(&alert.org, release).await.unwrap_or_else(|error| {
        gaps.push(Gap::new("commit of the release", error.to_string()));
        event::commit_in_version(release)
    })
}
