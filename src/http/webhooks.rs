//! `POST /webhooks/sentry`: take a delivery, check it, commit it, answer.
//!
//! Invariant: nothing of the body is read as anything but bytes before its signature was verified, and once it was, a
//! client that hangs up cannot stop it from being stored.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;

use super::App;
use super::problem::Problem;
use crate::config::{Config, Server};
use crate::job::JobId;
use crate::outcome::{Ignored, Outcome};
use crate::source::sentry::signature::{self, RawDelivery, Verified};
use crate::source::sentry::webhook::{self, BadPayload, Meaning};
use crate::store::{Accepted, Intent, NewDelivery};
use crate::triage;

/// Headers that are kept with a delivery. Operators may add headers of their own to Sentry's, credentials among them.
const KEPT: [&str; 5] = ["content-type", "user-agent", "request-id", webhook::RESOURCE_HEADER, "sentry-hook-timestamp"];

/// Most bytes of a header's value that are kept.
const LONGEST_HEADER: usize = 256;

/// What the sender is told of an accepted delivery.
#[derive(Serialize)]
struct Receipt {
    delivery: i64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Takes one delivery of Sentry's.
pub(super) async fn sentry(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let limit = usize::try_from(app.config.server.max_body.0).unwrap_or(usize::MAX);
    check_length(&head.headers, limit)?;
    check_type(&head.headers)?;
    let signature = only(&head.headers, signature::HEADER)?.map(|value| value.as_bytes().to_vec());
    if signature.is_none() {
        return Err(unauthorized(signature::SignatureError::Missing));
    }
    let body = read_body(body, limit, &app.config.server).await?;
    let delivery = signature::verify(&app.webhook_secrets, signature.as_deref(), body).map_err(unauthorized)?;
    let resource = resource(&head.headers)?;
    let intent = intent(&app.config, &resource, delivery.get())?;
    // axum drops this future when the client hangs up; the task goes on.
    let stored = tokio::spawn(store(app, new_delivery(&head.headers, resource, delivery), intent));
    stored.await.map_err(unavailable)?
}

/// Refuses a declared length over the limit before a byte of the body is read.
fn check_length(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(too_large(limit));
    }
    Ok(())
}

/// JSON, as it is: nothing is decompressed here.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = only(headers, header::CONTENT_TYPE.as_str())?
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"));
    if !media_type || headers.contains_key(header::CONTENT_ENCODING) {
        let error = "send the body as application/json, not encoded";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    Ok(())
}

/// The header's value. One that comes twice may be read differently by whoever forwarded it, so it is refused.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a axum::http::HeaderValue>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(refused(StatusCode::BAD_REQUEST, format!("more than one {name} header"))),
    }
}

async fn read_body(body: axum::body::Body, limit: usize, settings: &Server) -> Result<Vec<u8>, Problem> {
    match tokio::time::timeout(settings.body_timeout.0, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(error)) => Err(Problem::stranger(StatusCode::BAD_REQUEST, "the body ended early", error)),
        Err(_) => {
            let error = format!("the body did not arrive within {}", settings.body_timeout);
            Err(refused(StatusCode::REQUEST_TIMEOUT, error))
        }
    }
}

/// The kind of delivery: a word, since it is stored and logged. Only who has the secret learns that it is missing.
fn resource(headers: &HeaderMap) -> Result<String, Problem> {
    let word = |value: &&str| {
        (1..=64).contains(&value.len())
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    only(headers, webhook::RESOURCE_HEADER)?
        .and_then(|value| value.to_str().ok())
        .filter(word)
        .map(ToOwned::to_owned)
        .ok_or_else(|| Problem::unusable(format!("the {} header is missing or not a word", webhook::RESOURCE_HEADER)))
}

/// What shall become of the delivery.
fn intent(config: &Config, resource: &str, delivery: &RawDelivery) -> Result<Intent, Problem> {
    let sentry = &config.sentry;
    let read = |org| webhook::read(resource, &delivery.0, org, sentry.start_on_error);
    let meaning = match read(sentry.org.as_deref()) {
        Err(BadPayload::NoOrganisation { project }) => match config.only_org_with(&project) {
            Some(org) => read(Some(org)),
            // It is a real alert, and a setting of ours is missing: it is kept, so that it can be sent again.
            None => {
                Ok(Meaning::Close(Ignored::NotActionable { what: BadPayload::NoOrganisation { project }.to_string() }))
            }
        },
        read => read,
    };
    Ok(match meaning.map_err(|error| Problem::unusable(error.to_string()))? {
        Meaning::Close(why) => Intent::Close(Outcome::Ignored { why }),
        Meaning::Work(alert) => match triage::admit(config, &alert) {
            Ok(project) => Intent::Work {
                repository: project.repository.clone(),
                regression_window: sentry.regression_window.0,
                alert,
            },
            Err(why) => Intent::Close(Outcome::Ignored { why }),
        },
    })
}

fn new_delivery(headers: &HeaderMap, resource: String, delivery: Verified<RawDelivery>) -> NewDelivery {
    let kept = |name: &str| {
        let value: String = headers.get(HeaderName::from_bytes(name.as_bytes()).ok()?)?.to_str().ok()?.to_owned();
        // `to_str` lets visible ASCII only through, so that a cut is always between characters.
        Some(value.chars().take(LONGEST_HEADER).collect::<String>())
    };
    NewDelivery {
        source: webhook::SOURCE.to_owned(),
        resource,
        request_id: kept("request-id"),
        headers: KEPT.iter().filter_map(|name| Some(((*name).to_owned(), kept(name)?))).collect(),
        verified_by: delivery.by().to_string(),
        body: delivery.into_inner().0,
    }
}

/// Commits the delivery, wakes a worker, and only then makes the answer.
async fn store(app: App, delivery: NewDelivery, intent: Intent) -> Result<Response, Problem> {
    let (resource, verified_by) = (delivery.resource.clone(), delivery.verified_by.clone());
    let accepted = Arc::clone(&app.store).accept(delivery, intent).await.map_err(unavailable)?;
    if matches!(accepted.outcome, Outcome::Queued { .. }) {
        app.wake.notify_one();
    }
    tracing::info!(delivery = accepted.delivery, %resource, %verified_by, outcome = %accepted.outcome, "accepted a delivery");
    Ok(receipt(&accepted))
}

fn receipt(accepted: &Accepted) -> Response {
    let (status, job, message) = match accepted.outcome {
        Outcome::Queued { job } => (StatusCode::ACCEPTED, Some(job), None),
        Outcome::Attached { job } => (StatusCode::OK, Some(job), Some(accepted.outcome.to_string())),
        _ => (StatusCode::OK, None, Some(accepted.outcome.to_string())),
    };
    let outcome = accepted.outcome.name();
    (status, Json(Receipt { delivery: accepted.delivery, outcome, job, message })).into_response()
}

/// A refusal of bytes that nobody has verified, with a reason that holds nothing of them.
fn refused(status: StatusCode, error: impl Into<String>) -> Problem {
    let error = error.into();
    Problem::stranger(status, error.clone(), error)
}

/// Every failed check of the signature gets this one answer.
fn unauthorized(cause: signature::SignatureError) -> Problem {
    Problem::stranger(StatusCode::UNAUTHORIZED, "not signed with an active secret", cause)
}

fn too_large(limit: usize) -> Problem {
    refused(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
}

fn unavailable(cause: impl std::fmt::Display) -> Problem {
    Problem::ours("the delivery could not be stored: send it again later", cause)
}
