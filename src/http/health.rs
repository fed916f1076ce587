//! Whether the process lives, and whether it can take deliveries.
//!
//! Invariant: neither answer tells anything about the inside but the one word that an operator needs; however often
//! anybody asks, the database is written to at most once in [`FRESH`] for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::store::Store;

/// Time in which the database has to show that it can be written to.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long what it has shown counts.
const FRESH: Duration = Duration::from_secs(1);

/// What it takes to know whether deliveries can be taken.
#[derive(Clone)]
struct Health {
    store: Arc<dyn Store>,
    draining: CancellationToken,
    /// Locked while the database is written to.
    last: Arc<Mutex<Option<Shown>>>,
}

/// What the database has shown.
struct Shown {
    at: Instant,
    problem: Option<&'static str>,
}

/// Whether deliveries can be taken, and if not, why.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
}

/// The routes of this file.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(app: &App) -> Router<S> {
    let health = Health { store: Arc::clone(&app.store), draining: app.draining.clone(), last: Arc::default() };
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(health)
}

/// `GET /healthz`: the process answers, so it need not be restarted.
async fn alive() -> &'static str {
    "ok"
}

/// `GET /readyz`: 200 where a delivery would be accepted now, else 503 with the reasons.
async fn ready(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let shutdown = health.draining.is_cancelled().then_some("shutting down");
    let database = tokio::time::timeout(PATIENCE, health.database());
    let database = database.await.unwrap_or(Some("the database does not answer"));
    let reasons: Vec<_> = shutdown.into_iter().chain(database).collect();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons }))
}

impl Health {
    /// What is wrong with the database. Who asks while another waits for the answer gets the same one.
    async fn database(&self) -> Option<&'static str> {
        let mut last = self.last.lock().await;
        if let Some(shown) = last.as_ref().filter(|shown| shown.at.elapsed() < FRESH) {
            return shown.problem;
        }
        let problem = match self.store.check().await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "the database cannot be written to");
                Some("the database cannot be written to")
            }
        };
        *last = Some(Shown { at: Instant::now(), problem });
        problem
    }
}
