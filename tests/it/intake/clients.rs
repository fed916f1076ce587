//! Clients in a hurry and clients that mean harm: what becomes of their requests, and of those of the others.
//!
//! Invariant: a request that arrived whole counts, whatever its sender does next; nobody keeps a place for ever.

use patchwright::config::Server;
use patchwright::limits::Size;
use patchwright::source::sentry::signature::sign;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::server::{EVENT_ALERT, Running, SECRET, headers, in_time, post, read_answer, start};
use super::webhooks::body;

/// A signed alert that no other is like.
fn request(number: usize) -> Vec<u8> {
    let mut alert: Value = serde_json::from_slice(&body(EVENT_ALERT)).unwrap();
    alert["data"]["triggered_rule"] = json!(format!("rule {number}"));
    let alert = alert.to_string().into_bytes();
    post(&alert, &headers("event_alert", &sign(SECRET, &alert)))
}

/// Waits until so many deliveries are stored.
async fn stored(server: &Running, many: usize) {
    while server.store.len() < many {
        in_time(server.store.stored.notified()).await;
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_after_sending_is_answered() {
    let server = start(Server::default()).await;
    for number in 0..20 {
        let mut stream = server.connect().await;
        in_time(stream.write_all(&request(number))).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_answer(&mut stream).await.status, 202);
    }
}

#[tokio::test]
async fn the_alert_of_a_client_that_hangs_up_at_once_is_stored() {
    const MANY: usize = 50;
    let server = start(Server::default()).await;
    for number in 0..MANY {
        let mut stream = server.connect().await;
        in_time(stream.write_all(&request(number))).await.unwrap();
    }
    stored(&server, MANY).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_off_does_not_stop_its_delivery_from_being_stored() {
    let server = start(Server::default()).await;
    let hold = server.store.gate.acquire().await.unwrap();
    let mut stream = server.connect().await;
    in_time(stream.write_all(&request(1))).await.unwrap();
    in_time(server.store.entered.notified()).await;
    drop(stream);
    // Takes all connections and their handlers along.
    server.served.abort();
    while !server.served.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.store.len(), 0);
    drop(hold);
    stored(&server, 1).await;
    in_time(server.wake.notified()).await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_gives_its_place_to_the_next() {
    let server = start(Server { max_connections: 1, ..Server::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut deaf = in_time(socket.connect(server.address)).await.unwrap();
    let flood = tokio::spawn(async move {
        let requests = b"GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1_000);
        while deaf.write_all(&requests).await.is_ok() {}
        std::future::pending::<()>().await;
    });
    assert_eq!(server.get("/healthz").await.body, "ok");
    flood.abort();
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = start(Server { max_body: Size(64 << 10), ..Server::default() }).await;
    let large = vec![b' '; 2 << 20];
    let small = &large[..60 << 10];
    let signed = headers("event_alert", &"0".repeat(64));
    let without = |name: &str| signed.iter().filter(|(other, _)| *other != name).cloned().collect::<Vec<_>>();
    for _ in 0..10 {
        for (request, status) in [
            (post(&large, &signed), 413),
            (post(small, &without("Sentry-Hook-Signature")), 401),
            (post(small, &without("Content-Type")), 415),
        ] {
            assert_eq!(server.send(&request).await.status, status);
        }
    }
}
