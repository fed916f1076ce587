//! Whether the process lives, and whether it can take deliveries.
//!
//! Invariant: neither answer tells anything about the inside but the one word that an operator needs.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// Time in which the database has to show that it can be written to.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether deliveries can be taken, and if not, why.
#[derive(Serialize)]
pub(super) struct Readiness {
    ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
}

/// `GET /healthz`: the process answers, so it need not be restarted.
pub(super) async fn alive() -> &'static str {
    "ok"
}

/// `GET /readyz`: 200 where a delivery would be accepted now, else 503 with the reasons.
pub(super) async fn ready(
    State(store): State<Arc<dyn Store>>,
    State(draining): State<CancellationToken>,
) -> (StatusCode, Json<Readiness>) {
    let mut reasons = Vec::new();
    if draining.is_cancelled() {
        reasons.push("shutting down");
    }
    match tokio::time::timeout(PATIENCE, store.check()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database cannot be written to");
            reasons.push("the database cannot be written to");
        }
        Err(_) => reasons.push("the database does not answer"),
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons }))
}
