//! The HTTP server: webhooks in, health out.
//!
//! Invariant: a 2xx to a webhook means that its row is committed; the text of an internal error stays in the log, where
//! the `id` of the answer finds it.

pub mod connection;
mod health;
mod problem;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::secret::Secret;
use crate::store::Store;

pub use connection::run;
use problem::Problem;

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

/// All routes. To be served by [`run`], which holds slow clients to their time.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/webhooks/sentry", post(webhooks::sentry))
        .merge(health::routes(&app))
        .fallback(async || Problem::elsewhere(StatusCode::NOT_FOUND, "there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            Problem::elsewhere(StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method")
        })
        .with_state(app)
}
