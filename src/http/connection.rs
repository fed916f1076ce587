//! Serves connections: a bounded number, each held to the time in which a request's head must have arrived.
//!
//! Invariant: after shutdown begins no connection is accepted, and [`run`] returns within [`GRACE`] whatever clients do.
//!
//! `axum::serve` has no time-out for a request's head, so that a few hundred half-sent requests would hold their sockets
//! for ever. hyper has one, which works only with a timer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Server;

/// Time for open requests to end after shutdown has begun.
pub const GRACE: Duration = Duration::from_secs(10);

/// Pause after an accept that failed, which mostly means that no file descriptor was left.
const BREATH: Duration = Duration::from_millis(100);

/// Most bytes of a request's head.
const LARGEST_HEAD: usize = 32 << 10;

/// Serves until `shutdown`, then lets open requests end within [`GRACE`] and cuts off the rest.
/// Accepts that fail are logged and tried again.
pub async fn run(listener: TcpListener, router: Router, settings: &Server, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(settings.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    // The permit comes first: who finds no room waits in the kernel's queue and costs nothing here.
    while let Some(Ok(permit)) = shutdown.run_until_cancelled(Arc::clone(&permits).acquire_owned()).await {
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, _)) => {
                let served = serve(stream, router.clone(), settings.header_timeout.0, shutdown.clone());
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                shutdown.run_until_cancelled(tokio::time::sleep(BREATH)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(connections = connections.len(), "cut off connections that did not end in time");
        connections.shutdown().await;
    }
}

async fn serve(stream: TcpStream, router: Router, header_timeout: Duration, shutdown: CancellationToken) {
    // Answers are small and whole; waiting to fill a packet would only delay them.
    _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let result = match shutdown.run_until_cancelled(connection.as_mut()).await {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients that hang up or send no HTTP: everyday noise.
        tracing::debug!(%error, "a connection ended early");
    }
}
