//! Serves connections: a bounded number, each for one request whose head must have arrived in time.
//!
//! Invariant: a client decides neither how long it keeps its place nor whether a request that arrived whole is worked on;
//! after shutdown begins no connection is accepted, and [`run`] returns within [`GRACE`] whatever clients do.
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
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Server;

/// Time for open requests to end after shutdown has begun.
pub const GRACE: Duration = Duration::from_secs(10);

/// Pause after an accept that failed, which mostly means that no file descriptor was left.
const BREATH: Duration = Duration::from_millis(100);

/// Most bytes of a request's head, and of what is read ahead of its body.
const READ_AHEAD: usize = 32 << 10;

/// How much of a request that was answered before its end is still read, and for how long.
const LEFTOVER: (u64, Duration) = (4 << 20, Duration::from_secs(1));

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

async fn serve(mut stream: TcpStream, router: Router, header_timeout: Duration, shutdown: CancellationToken) {
    // Answers are small and whole; waiting to fill a packet would only delay them.
    _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(READ_AHEAD)
        // Who has sent the whole request may close its side or be gone: the request counts all the same.
        .half_close(true)
        // One request each: a client that sends many and reads no answer would keep its place for as long as it likes.
        .keep_alive(false)
        .serve_connection(TokioIo::new(&mut stream), TowerToHyperService::new(router));
    let result = {
        let mut connection = pin!(connection);
        match shutdown.run_until_cancelled(connection.as_mut()).await {
            Some(result) => result,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match result {
        Ok(()) => discard_leftover(&mut stream).await,
        // Clients that hang up or send no HTTP: everyday noise.
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// Reads what a client still sends after its answer. A socket that is closed with unread bytes resets the connection, and
/// many clients then drop the answer unread.
async fn discard_leftover(stream: &mut TcpStream) {
    let (most, patience) = LEFTOVER;
    let mut leftover = stream.take(most);
    _ = tokio::time::timeout(patience, tokio::io::copy(&mut leftover, &mut tokio::io::sink())).await;
}
