//! The HTTP server: webhooks in, health out.
//!
//! Invariant: a 2xx to a webhook means that its row is committed; the text of an internal error stays in the log, where
//! the `id` of the answer finds it.

pub mod connection;
mod health;
mod webhooks;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use axum::extract::FromRef;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::secret::Secret;
use crate::store::Store;

pub use connection::run;

/// What the handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// The active webhook secrets of Sentry's integration.
    pub webhook_secrets: Arc<[Secret]>,
    /// Where deliveries go.
    pub store: Arc<dyn Store>,
    /// Notified when a job was queued, so that a waiting worker need not poll.
    pub wake: Arc<Notify>,
    /// Cancelled when the process begins to shut down: `/readyz` says so and a load balancer sends no more.
    pub draining: CancellationToken,
}

impl FromRef<App> for Arc<dyn Store> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.store)
    }
}

impl FromRef<App> for CancellationToken {
    fn from_ref(app: &App) -> Self {
        app.draining.clone()
    }
}

/// All routes. To be served by [`run`], which holds slow clients to their time.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/webhooks/sentry", post(webhooks::sentry))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method")
        })
        .with_state(app)
}

/// An answer that says what was wrong, in words for the sender and an id for the log.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    error: String,
    id: u64,
    then: Then,
}

/// What the sender is told to do after a [`Problem`].
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Nothing in particular.
    GoOn,
    /// Open a new connection, since this one was not read to the end of the request.
    Reconnect,
    /// Send the same again in a few seconds.
    Retry,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        // `RandomState` is seeded by the system and differs with every call; ids need to be distinct, not secret.
        let id = RandomState::new().hash_one(status.as_u16());
        Self { status, error: error.into(), id, then: Then::GoOn }
    }

    /// Logs what the sender is not told.
    fn because(self, cause: impl fmt::Display) -> Self {
        tracing::warn!(id = %self.shown_id(), status = self.status.as_u16(), %cause, "refused a delivery");
        self
    }

    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    fn shown_id(&self) -> String {
        format!("{:016x}", self.id)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
            id: String,
        }
        let id = self.shown_id();
        let mut response = (self.status, Json(Body { error: self.error, id })).into_response();
        match self.then {
            Then::GoOn => None,
            Then::Reconnect => response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close")),
            Then::Retry => response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5")),
        };
        response
    }
}
