//! Gathers the evidence for a job: from the tracker, from the deliveries, and from the repository's history.
//!
//! Invariant: a part that could not be had ends up as `Missing` with the reason; only a rate limit, which waiting
//! heals, stops the stage.

pub mod code;
pub mod suspects;

use serde_json::Value;

use crate::alert::Alert;
use crate::clock::{self, Moment};
use crate::evidence::{Event, Found, Issue, Provenance, Suspect, Trace};
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
}

/// A wait that the tracker asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// When to try again.
    pub until: Moment,
    /// Why.
    pub why: String,
}

/// Asks the tracker for everything about an alert, starting from the deliveries that we hold. An alert that names no event
/// stands for the newest one in `environments`.
///
/// # Errors
/// [`Wait`] where the tracker's rate limit is used up for longer than a request should wait.
pub async fn from_tracker(
    sentry: &Sentry,
    alert: &Alert,
    deliveries: &[Delivery],
    environments: &[String],
) -> Result<FromTracker, Wait> {
    let delivered = deliveries.iter().rev().filter_map(parts_of_delivery).collect::<Vec<_>>();
    let issue = issue(sentry, alert, &delivered).await?;
    let event = newest_event(sentry, alert, &delivered, environments).await?;
    let mut alert = alert.clone();
    complete(&mut alert, issue.value(), event.value());
    let trace = trace(sentry, &alert, event.value()).await?;
    let suspects = suspects(sentry, &alert, event.value()).await?;
    let release_commit = release_commit(sentry, &alert).await?;
    Ok(FromTracker { alert, issue, event, trace, suspects, release_commit })
}

/// The parts of a webhook body that hold evidence.
struct Delivered {
    at: Moment,
    issue: Option<Issue>,
    event: Option<Event>,
}

fn parts_of_delivery(delivery: &Delivery) -> Option<Delivered> {
    let body: Value = serde_json::from_slice(&delivery.body).ok()?;
    // A request by a person wraps the payload that was given, if any.
    let body = body.get("payload").filter(|payload| payload.is_object()).unwrap_or(&body);
    let data = body.get("data").unwrap_or(body);
    let event = data.get("event").or_else(|| data.get("error")).or_else(|| body.get("event_id").map(|_| body));
    let issue = data.get("issue");
    Some(Delivered {
        at: delivery.received_at,
        issue: issue.map(event::issue_from_webhook),
        event: event.map(event::from_webhook),
    })
}

const NO_TOKEN: &str = "no Sentry API token is configured (set SENTRY_AUTH_TOKEN)";

/// Sorts an answer into evidence, a reason why it is missing, or a wait.
fn sort<T>(answer: Result<T, SentryError>, source: &str, outsider_can_write: bool) -> Result<Found<T>, Wait> {
    match answer {
        Ok(value) => {
            let from = Provenance { source: source.to_owned(), at: clock::now(), outsider_can_write };
            Ok(Found::Here { value, from })
        }
        Err(SentryError::RateLimited { retry_at, .. }) => {
            Err(Wait { until: retry_at, why: format!("{source}: Sentry's rate limit is used up") })
        }
        Err(error) => Ok(Found::missing(error.to_string())),
    }
}

fn from_webhook<T>(value: T, at: Moment) -> Found<T> {
    Found::Here { value, from: Provenance { source: "Sentry webhook".to_owned(), at, outsider_can_write: true } }
}

async fn issue(sentry: &Sentry, alert: &Alert, delivered: &[Delivered]) -> Result<Found<Issue>, Wait> {
    let from_delivery = || delivered.iter().find_map(|part| Some(from_webhook(part.issue.clone()?, part.at)));
    if !sentry.has_token() {
        return Ok(from_delivery().unwrap_or_else(|| Found::missing(NO_TOKEN)));
    }
    let asked = sort(sentry.issue(&alert.org, &alert.issue).await, "Sentry API: issue", true)?;
    Ok(match asked {
        Found::Missing { .. } => from_delivery().unwrap_or(asked),
        Found::Here { .. } => asked,
    })
}

async fn newest_event(
    sentry: &Sentry,
    alert: &Alert,
    delivered: &[Delivered],
    environments: &[String],
) -> Result<Found<Event>, Wait> {
    let from_delivery = || delivered.iter().find_map(|part| Some(from_webhook(part.event.clone()?, part.at)));
    if !sentry.has_token() {
        return Ok(
            from_delivery().unwrap_or_else(|| Found::missing(format!("the webhook carried no event, and {NO_TOKEN}")))
        );
    }
    let answer = match &alert.event_id {
        Some(id) => sentry.event(&alert.org, &alert.issue, id).await,
        None => sentry.latest_event(&alert.org, &alert.issue, environments).await,
    };
    let asked = sort(answer, "Sentry API: event", true)?;
    Ok(match asked {
        Found::Missing { .. } => from_delivery().unwrap_or(asked),
        Found::Here { .. } => asked,
    })
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

async fn trace(sentry: &Sentry, alert: &Alert, event: Option<&Event>) -> Result<Found<Trace>, Wait> {
    let Some(id) = event.and_then(|event| event.trace_id.as_deref()) else {
        return Ok(Found::missing("the event carries no trace id"));
    };
    if !sentry.has_token() {
        return Ok(Found::missing(NO_TOKEN));
    }
    let found = sort(sentry.trace(&alert.org, id, None).await, "Sentry API: trace", true)?;
    Ok(match found {
        Found::Here { value, .. } if value.roots.is_empty() => {
            Found::missing("Sentry has no spans for the event's trace (not sampled, or too old)")
        }
        other => other,
    })
}

async fn suspects(sentry: &Sentry, alert: &Alert, event: Option<&Event>) -> Result<Found<Vec<Suspect>>, Wait> {
    if !sentry.has_token() {
        return Ok(Found::missing(NO_TOKEN));
    }
    let Some(event) = event.filter(|event| !event.id.is_empty()) else {
        return Ok(Found::missing("there is no event to ask suspect commits for"));
    };
    sort(sentry.suspects(&alert.org, &alert.project, &event.id).await, "Sentry API: suspect commits", false)
}

async fn release_commit(sentry: &Sentry, alert: &Alert) -> Result<Option<String>, Wait> {
    let Some(release) = alert.release.as_deref() else { return Ok(None) };
    let found = sort(sentry.release_commit(&alert.org, release).await, "Sentry API: release", false)?;
    Ok(found.value().cloned().flatten().or_else(|| event::commit_in_version(release)))
}
