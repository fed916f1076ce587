//! The running server, spoken to over sockets.
//!
//! Invariant: the store only records; whatever it holds was accepted through HTTP.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use patchwright::clock::Moment;
use patchwright::config::secret::{Secret, SecretRef};
use patchwright::config::{Config, Server};
use patchwright::http::{App, router, run};
use patchwright::job::{Attempt, Job, JobEvent, JobId, Lease, Stage, State};
use patchwright::limits::{Size, Span};
use patchwright::outcome::{Ignored, Outcome};
use patchwright::redact::Redacted;
use patchwright::source::sentry::signature::sign;
use patchwright::store::{
    Accepted, Claim, Delivery, Intent, JobFilter, KnownPullRequest, NewDelivery, NewEvent, Store, StoreError,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::webhooks::{body, resource};

/// No step of a test takes longer; only a broken server lets it run out.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// Secret of the integration, and the one it had before.
pub(super) const SECRET: &str = "client-secret-of-the-integration";
const OLD_SECRET: &str = "client-secret-before-rotation";

pub(super) const EVENT_ALERT: &str = "event_alert.triggered";

/// Keeps what it is given, and can be told to break down or to take its time.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(super) rows: Mutex<Vec<(NewDelivery, Intent)>>,
    down: AtomicBool,
    checks: AtomicUsize,
    pub(super) entered: Notify,
    pub(super) gate: Semaphore,
    pub(super) stored: Notify,
}

impl Recorder {
    /// An empty one that is well. What no receiver asks for, it does not answer but panics.
    pub(crate) fn new() -> Self {
        Self {
            rows: Mutex::default(),
            down: AtomicBool::new(false),
            checks: AtomicUsize::new(0),
            entered: Notify::new(),
            gate: Semaphore::new(1),
            stored: Notify::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.lock().unwrap().len()
    }

    pub(super) fn only(&self) -> (NewDelivery, Intent) {
        let rows = self.rows.lock().unwrap();
        assert_eq!(rows.len(), 1);
        rows[0].clone()
    }

    fn health(&self) -> Result<(), StoreError> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("disk /srv/internal is full".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Recorder {
    async fn accept(&self, delivery: NewDelivery, intent: Intent) -> Result<Accepted, StoreError> {
        self.entered.notify_one();
        self.gate.acquire().await.unwrap().forget();
        self.gate.add_permits(1);
        self.health()?;
        let mut rows = self.rows.lock().unwrap();
        if let Some(first) = rows.iter().position(|(row, _)| row.body == delivery.body) {
            let delivery = i64::try_from(first).unwrap() + 1;
            return Ok(Accepted { delivery, outcome: Outcome::Ignored { why: Ignored::Duplicate { delivery } } });
        }
        let outcome = match &intent {
            Intent::Work { .. } => Outcome::Queued { job: JobId(7) },
            Intent::Close(outcome) => outcome.clone(),
        };
        rows.push((delivery, intent));
        self.stored.notify_one();
        Ok(Accepted { delivery: i64::try_from(rows.len()).unwrap(), outcome })
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        self.health()
    }
    async fn close(&self) {
        unreachable!()
    }
    async fn identity(&self) -> Result<String, StoreError> {
        unreachable!()
    }

    async fn claim(&self, _: &Claim) -> Result<Option<(Job, Lease)>, StoreError> {
        unreachable!()
    }
    async fn claim_job(&self, _: JobId, _: &Claim) -> Result<Option<(Job, Lease)>, StoreError> {
        unreachable!()
    }
    async fn renew(&self, _: &Lease, _: Duration) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn check_lease(&self, _: &Lease, _: Duration) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn enter(&self, _: &Lease, _: Stage) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn record(&self, _: &Lease, _: &[NewEvent]) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn save(&self, _: &Lease, _: &str, _: &Redacted<Value>) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn saved(&self, _: JobId, _: &str) -> Result<Option<Value>, StoreError> {
        unreachable!()
    }
    async fn begin_attempt(&self, _: &Lease, _: &str) -> Result<i64, StoreError> {
        unreachable!()
    }
    async fn end_attempt(&self, _: &Lease, _: i64, _: &Redacted<String>) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn attempts(&self, _: JobId) -> Result<Vec<Attempt>, StoreError> {
        unreachable!()
    }
    async fn save_pull_request(&self, _: &Lease, _: &KnownPullRequest) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn pull_requests(&self, _: &str, _: &str, _: &str) -> Result<Vec<KnownPullRequest>, StoreError> {
        unreachable!()
    }
    async fn finish(&self, _: &Lease, _: &Redacted<Outcome>) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn hand_back(&self, _: &Lease, _: Moment, _: bool) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn job(&self, _: JobId) -> Result<Job, StoreError> {
        unreachable!()
    }
    async fn jobs(&self, _: JobFilter) -> Result<Vec<Result<Job, StoreError>>, StoreError> {
        unreachable!()
    }
    async fn events(&self, _: JobId, _: i64, _: u32) -> Result<Vec<JobEvent>, StoreError> {
        unreachable!()
    }
    async fn deliveries(&self, _: JobId, _: u32) -> Result<Vec<Delivery>, StoreError> {
        unreachable!()
    }
    async fn delivery_count(&self, _: JobId) -> Result<u64, StoreError> {
        unreachable!()
    }
    async fn delivery(&self, _: i64) -> Result<Option<Delivery>, StoreError> {
        unreachable!()
    }
    async fn cancel(&self, _: JobId) -> Result<State, StoreError> {
        unreachable!()
    }
    async fn retry(&self, _: JobId, _: bool) -> Result<(), StoreError> {
        unreachable!()
    }
}

/// A server on a port of its own, which ends with the test.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<Recorder>,
    pub(super) wake: Arc<Notify>,
    shutdown: CancellationToken,
    pub(super) served: JoinHandle<()>,
    _end: DropGuard,
}

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(super) async fn start(settings: Server) -> Running {
    start_for("checkout", settings).await
}

/// With `[[project]]` entries for these projects of Sentry's, separated by spaces.
async fn start_for(projects: &str, settings: Server) -> Running {
    let store = Arc::new(Recorder::new());
    let projects = projects.split(' ').map(|name| json!({"sentry": name, "repository": "acme/checkout"}));
    let projects = json!({"project": projects.collect::<Vec<_>>()});
    let config = Config { server: settings.clone(), ..serde_json::from_value(projects).unwrap() };
    let secret = |name: &str, value: &str| Secret { from: SecretRef::Env(name.to_owned()), value: value.into() };
    let wake = Arc::new(Notify::new());
    let shutdown = CancellationToken::new();
    let app = App {
        config: Arc::new(config),
        webhook_secrets: [secret("OLD", OLD_SECRET), secret("NEW", SECRET)].into(),
        store: Arc::clone(&store) as Arc<dyn Store>,
        wake: Arc::clone(&wake),
        draining: shutdown.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = shutdown.clone();
    let served = tokio::spawn(async move { run(listener, router(app), &settings, stop).await });
    Running { address, store, wake, served, _end: shutdown.clone().drop_guard(), shutdown }
}

pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap()
}

/// Reads until the server closes.
pub(super) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

impl Running {
    pub(super) async fn connect(&self) -> TcpStream {
        in_time(TcpStream::connect(self.address)).await.unwrap()
    }

    pub(super) async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        in_time(stream.write_all(bytes)).await.unwrap();
        read_answer(&mut stream).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes()).await
    }

    /// A synthetic webhook, signed.
    async fn deliver(&self, name: &str) -> Answer {
        self.send(&post(&body(name), &headers(resource(name), &sign(SECRET, &body(name))))).await
    }
}

pub(super) fn headers(resource: &str, signature: &str) -> Vec<(&'static str, String)> {
    vec![
        ("Content-Type", "application/json".to_owned()),
        ("Request-ID", "11112222333344445555666677778888".to_owned()),
        ("Sentry-Hook-Resource", resource.to_owned()),
        ("Sentry-Hook-Signature", signature.to_owned()),
        ("Authorization", "Bearer set-by-the-operator".to_owned()),
    ]
}

pub(super) fn post(body: &[u8], headers: &[(&str, String)]) -> Vec<u8> {
    let length = ("Content-Length", body.len().to_string());
    let mut request = post_head(headers.iter().cloned().chain([length]));
    request.extend_from_slice(body);
    request
}

pub(super) fn post_head<'a>(headers: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let lines: String = headers.into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("POST /webhooks/sentry HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}\r\n").into_bytes()
}

#[tokio::test]
async fn a_signed_alert_is_stored_as_it_came_and_wakes_a_worker() {
    let server = start(Server::default()).await;
    let answer = server.deliver(EVENT_ALERT).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"delivery": 1, "outcome": "queued", "job": 7})));
    in_time(server.wake.notified()).await;
    let (row, intent) = server.store.only();
    assert_eq!(
        (row.body, row.resource.as_str(), row.verified_by.as_str()),
        (body(EVENT_ALERT), "event_alert", "env:NEW")
    );
    assert_eq!(row.request_id.as_deref(), Some("11112222333344445555666677778888"));
    let kept: Vec<&str> = row.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(kept, ["content-type", "request-id", "sentry-hook-resource"], "no signature, no authorization");
    assert!(matches!(intent, Intent::Work { repository, .. } if repository == "acme/checkout"));
}

#[tokio::test]
async fn the_secret_from_before_a_rotation_still_verifies_and_is_named() {
    let server = start(Server::default()).await;
    let signature = sign(OLD_SECRET, &body(EVENT_ALERT));
    assert_eq!(server.send(&post(&body(EVENT_ALERT), &headers("event_alert", &signature))).await.status, 202);
    assert_eq!(server.store.only().0.verified_by, "env:OLD");
}

#[tokio::test]
async fn a_replayed_delivery_is_answered_as_the_duplicate_it_is() {
    let server = start(Server::default()).await;
    server.deliver(EVENT_ALERT).await;
    let again = server.deliver(EVENT_ALERT).await;
    assert_eq!(
        (again.status, &again.json()["outcome"], &again.json()["delivery"]),
        (200, &json!("ignored"), &json!(1))
    );
    assert_eq!(server.store.len(), 1);
}

#[tokio::test]
async fn kinds_that_start_nothing_are_kept_and_answered_with_the_reason() {
    let server = start(Server::default()).await;
    for name in ["issue.resolved", "future_kind.happened", "comment.created"] {
        let answer = server.deliver(name).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            answer.status == 200 && message.starts_with(&format!("ignored: {}", resource(name))),
            "{name}: {message}"
        );
    }
    assert_eq!(server.store.len(), 3);
}

#[tokio::test]
async fn an_alert_of_an_unknown_project_is_kept_with_that_reason() {
    let server = start(Server::default()).await;
    let unknown = String::from_utf8(body("issue.created")).unwrap().replace("\"checkout\"", "\"warehouse\"");
    let answer = server.send(&post(unknown.as_bytes(), &headers("issue", &sign(SECRET, unknown.as_bytes())))).await;
    assert!(answer.status == 200 && answer.body.contains("acme/warehouse"), "{}", answer.body);
    assert!(matches!(server.store.only().1, Intent::Close(Outcome::Ignored { why: Ignored::UnknownProject { .. } })));
}

#[tokio::test]
async fn an_alert_without_an_organisation_takes_the_only_one_that_is_configured_for_its_project() {
    let server = start_for("acme/checkout other/shop", Server::default()).await;
    assert_eq!(server.deliver("issue.created.without_addresses").await.status, 202);
    assert!(matches!(server.store.only().1, Intent::Work { alert, .. } if alert.org == "acme"));
}

#[tokio::test]
async fn an_alert_whose_organisation_nobody_knows_is_kept_with_the_remedy() {
    for projects in ["checkout", "acme/checkout other/checkout"] {
        let server = start_for(projects, Server::default()).await;
        let answer = server.deliver("issue.created.without_addresses").await;
        assert!(answer.status == 200 && answer.body.contains("set `[sentry] org`"), "{}", answer.body);
        assert_eq!(server.store.len(), 1);
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_signature_the_answer_is_the_same_and_nothing_is_stored() {
    let server = start(Server::default()).await;
    let body = body(EVENT_ALERT);
    let good = sign(SECRET, &body);
    let forged = sign("some-other-secret", &body);
    let truncated = &body[..body.len() - 10];
    let unsigned = headers("event_alert", &good)
        .into_iter()
        .filter(|(name, _)| *name != "Sentry-Hook-Signature")
        .collect::<Vec<_>>();
    let requests = [
        post(&body, &headers("event_alert", &forged)),
        post(truncated, &headers("event_alert", &good)),
        post(&body, &headers("event_alert", &good[..40])),
        post(&body, &headers("event_alert", "")),
        post(b"not json", &headers("event_alert", &good)),
        post(&body, &unsigned),
    ];
    for request in requests {
        let answer = server.send(&request).await;
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("not signed with an active secret")));
        assert_eq!(answer.json()["id"].as_str().unwrap().len(), 16);
    }
    assert_eq!(server.store.len(), 0);
}

#[tokio::test]
async fn two_signature_headers_are_refused() {
    let server = start(Server::default()).await;
    let mut headers = headers("event_alert", &sign(SECRET, &body(EVENT_ALERT)));
    headers.push(("sentry-hook-signature", "0".repeat(64)));
    assert_eq!(server.send(&post(&body(EVENT_ALERT), &headers)).await.status, 400);
    assert_eq!(server.store.len(), 0);
}

#[tokio::test]
async fn signed_bytes_that_cannot_be_read_get_a_short_reason() {
    let server = start(Server::default()).await;
    let cases: [(&[u8], &str, &str); 5] = [
        (b"{\"action\":\"caf\xe9\"}", "issue", "not UTF-8"),
        (b"{\"action\": hunter2", "issue", "not JSON"),
        (b"{\"action\":\"created\",\"data\":{}}", "issue", "header names"),
        (br#"{"action":"created","data":{"issue":{}}}"#, "issue", "`issue.id`"),
        (b"{}", "two words", "sentry-hook-resource"),
    ];
    for (bytes, resource, reason) in cases {
        let answer = server.send(&post(bytes, &headers(resource, &sign(SECRET, bytes)))).await;
        assert!(
            answer.status == 400 && answer.body.contains(reason) && !answer.body.contains("hunter2"),
            "{}",
            answer.body
        );
    }
    assert_eq!(server.store.len(), 0);
}

#[tokio::test]
async fn only_plain_json_is_taken() {
    let server = start(Server::default()).await;
    let body = body(EVENT_ALERT);
    let with = |at: usize, name: &'static str, value: &str| {
        let mut headers = headers("event_alert", &sign(SECRET, &body));
        headers.splice(at..at, [(name, value.to_owned())]);
        headers
    };
    let no_type: Vec<_> = headers("event_alert", &sign(SECRET, &body)).into_iter().skip(1).collect();
    let mut form = no_type.clone();
    form.push(("Content-Type", "application/x-www-form-urlencoded".to_owned()));
    for headers in [no_type, form, with(0, "Content-Encoding", "gzip")] {
        assert_eq!(server.send(&post(&body, &headers)).await.status, 415);
    }
    let mut charset = with(0, "X-Extra", "1");
    charset[1].1 = "Application/JSON; charset=utf-8".to_owned();
    assert_eq!(server.send(&post(&body, &charset)).await.status, 202);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_in_chunks() {
    let server = start(Server { max_body: Size(4096), ..Server::default() }).await;
    let headers = headers("event_alert", &"0".repeat(64));
    let declared = post_head(headers.iter().cloned().chain([("Content-Length", "4097".to_owned())]));
    assert_eq!(server.send(&declared).await.status, 413, "before a byte of it was sent");
    let mut chunked = post_head(headers.into_iter().chain([("Transfer-Encoding", "chunked".to_owned())]));
    for _ in 0..5 {
        chunked.extend_from_slice(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes());
    }
    assert_eq!(server.send(&chunked).await.status, 413, "before its end was sent");
}

#[tokio::test]
async fn a_slow_head_is_cut_off_and_makes_room_for_others() {
    let quick = Span(Duration::from_millis(100));
    let server = start(Server { header_timeout: quick, max_connections: 1, ..Server::default() }).await;
    let mut slow = server.connect().await;
    in_time(slow.write_all(b"POST /webhooks/sentry HTTP/1.1\r\nHost:")).await.unwrap();
    let silent = server.connect().await;
    assert_eq!(server.get("/healthz").await.body, "ok", "after both were cut off");
    drop((slow, silent));
}

#[tokio::test]
async fn a_slow_body_is_told_so_and_cut_off() {
    let server = start(Server { body_timeout: Span(Duration::from_millis(100)), ..Server::default() }).await;
    let headers = headers("event_alert", &"0".repeat(64));
    let mut request = post_head(headers.into_iter().chain([("Content-Length", "100".to_owned())]));
    request.extend_from_slice(b"{\"action\":");
    assert_eq!(server.send(&request).await.status, 408);
}

#[tokio::test]
async fn a_store_that_is_down_means_try_again_and_tells_nothing_of_the_inside() {
    let server = start(Server::default()).await;
    server.store.down.store(true, Ordering::SeqCst);
    let answer = server.deliver(EVENT_ALERT).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 5") && !answer.body.contains("internal"), "{}", answer.body);
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()),
        (503, json!({"ready": false, "reasons": ["the database cannot be written to"]}))
    );
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn readiness_costs_one_write_however_often_anybody_asks() {
    let server = start(Server::default()).await;
    const ASKED: usize = 50;
    for _ in 0..ASKED {
        assert_eq!(server.get("/readyz").await.status, 200);
    }
    // What the database has shown counts for a second; no request takes that long.
    assert!(server.store.checks.load(Ordering::SeqCst) < ASKED);
}

#[tokio::test]
async fn unknown_addresses_and_methods_get_the_same_small_answer() {
    let server = start(Server::default()).await;
    for (answer, status) in [(server.get("/nowhere").await, 404), (server.get("/webhooks/sentry").await, 405)] {
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"].is_string() && answer.json()["id"].is_string());
    }
}

#[tokio::test]
async fn shutdown_lets_the_open_request_end_and_takes_no_new_connection() {
    let server = start(Server::default()).await;
    assert_eq!(server.get("/readyz").await.json(), json!({"ready": true}));
    let hold = server.store.gate.acquire().await.unwrap();
    let mut stream = server.connect().await;
    let request = post(&body(EVENT_ALERT), &headers("event_alert", &sign(SECRET, &body(EVENT_ALERT))));
    in_time(stream.write_all(&request)).await.unwrap();
    in_time(server.store.entered.notified()).await;
    server.shutdown.cancel();
    drop(hold);
    assert_eq!(read_answer(&mut stream).await.status, 202);
    in_time(server.served).await.unwrap();
    let refused = in_time(TcpStream::connect(server.address)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
