//! A GitHub on loopback: REST at `/` and at `/api/v3`, and git over HTTP, on real bare repositories.
//!
//! Invariant: what GitHub refuses is refused here with GitHub's status and words; nothing is answered without the token.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has to fail")]

mod api;
mod fault;
mod git_http;
mod model;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use self::fault::Fault;
use self::fault::Planned;
use self::model::Model;
pub(crate) use self::model::{Permission, Pull, State};

/// Who the token belongs to.
pub(crate) const LOGIN: &str = "patchwright-bot";
const TOKEN: &str = "github_pat_synthetic_0123456789abcdef";

/// A running GitHub; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct FakeGitHub {
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// One request that arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// The body of a REST request; git's are not kept.
    pub(crate) body: String,
    /// The status of the answer; `None` where there was none.
    pub(crate) status: Option<u16>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    model: Mutex<Model>,
    faults: Mutex<VecDeque<Planned>>,
    received: Mutex<Vec<Received>>,
    /// Positions in `received` of requests that were carried out but never answered.
    carried_out: Mutex<Vec<usize>>,
}

impl FakeGitHub {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            url: format!("http://{address}"),
            model: Mutex::default(),
            faults: Mutex::default(),
            received: Mutex::default(),
            carried_out: Mutex::default(),
        });
        let serving = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, serving }
    }

    /// The address of the REST API as on github.com.
    pub(crate) fn api_url(&self) -> String {
        self.shared.url.clone()
    }

    /// The address of the REST API as on a GitHub Enterprise Server.
    pub(crate) fn enterprise_api_url(&self) -> String {
        format!("{}/api/v3", self.shared.url)
    }

    /// The only token that is let in.
    pub(crate) fn token(&self) -> &'static str {
        TOKEN
    }

    /// Serves the bare repository at `path` as `name` (`owner/name`).
    pub(crate) fn add_repository(&self, name: &str, path: &Path) {
        self.shared.model().add_repository(name, path);
    }

    /// Gives a repository a new name; the old one redirects.
    pub(crate) fn rename(&self, old: &str, new: &str) {
        self.shared.model().rename(old, new);
    }

    /// Makes a repository read-only.
    pub(crate) fn archive(&self, name: &str) {
        self.shared.model().repository_mut(name).expect("a repository").archived = true;
    }

    /// Takes a permission from the token.
    pub(crate) fn withhold(&self, permission: Permission) {
        self.shared.model().withheld.insert(permission);
    }

    /// Marks a pull request as ready for review, as a person would.
    pub(crate) fn mark_ready(&self, number: u64) {
        self.shared.model().pull_mut(number).expect("a pull request").draft = false;
    }

    /// Lets `login` be asked for reviews.
    pub(crate) fn add_collaborator(&self, login: &str) {
        self.shared.model().collaborators.insert(login.to_owned());
    }

    /// The pull requests of a repository, oldest first.
    pub(crate) fn pulls(&self, name: &str) -> Vec<Pull> {
        self.shared.model().pulls_of(name)
    }

    /// Closes a pull request as a person would. Numbers are unique over all repositories.
    pub(crate) fn close_pull(&self, number: u64) {
        self.shared.model().pull_mut(number).expect("a pull request").state = State::Closed;
    }

    /// Marks a pull request as merged.
    pub(crate) fn merge_pull(&self, number: u64) {
        self.shared.model().pull_mut(number).expect("a pull request").state = State::Merged;
    }

    /// The next request goes wrong like this (for [`Fault::NoDrafts`]: the next one that opens a pull request).
    pub(crate) fn fail_next(&self, fault: Fault) {
        self.shared.faults().push_back(Planned::next(fault));
    }

    /// The next request of this method whose path, without its query, ends like this goes wrong.
    pub(crate) fn fail_next_at(&self, method: &'static str, path_end: &str, fault: Fault) {
        self.shared.faults().push_back(Planned::at(method, path_end, fault));
    }

    /// How many requests were carried out without ever being answered ([`Fault::HangAfter`]).
    pub(crate) fn carried_out_unanswered(&self) -> usize {
        lock(&self.shared.carried_out).len()
    }

    /// How many requests of this method arrived whose path, without its query, ends like this.
    pub(crate) fn count(&self, method: &str, path_end: &str) -> usize {
        let meets = |request: &&Received| {
            request.method == method && request.path.split('?').next().is_some_and(|path| path.ends_with(path_end))
        };
        lock(&self.shared.received).iter().filter(meets).count()
    }

    /// What arrived so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }
}

impl Drop for FakeGitHub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn model(&self) -> MutexGuard<'_, Model> {
        lock(&self.model)
    }

    fn faults(&self) -> MutexGuard<'_, VecDeque<Planned>> {
        lock(&self.faults)
    }

    fn fault_for(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut faults = self.faults();
        let index = faults.iter().position(|planned| planned.meets(method, path))?;
        faults.remove(index).map(|planned| planned.fault)
    }
}

/// A failed assertion in one test thread does not hide the state from the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Aborting this task drops the set, which ends the connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, Arc::clone(&shared)));
    }
}

/// hyper rather than `axum::serve`, because a service that fails closes the connection without an answer.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            receive(&shared, &parts.method, &parts.uri, &parts.headers, body).await
        }
    });
    // An error here is a connection that a fault closed, or that the client closed.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn receive(
    shared: &Shared,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> io::Result<Response<Body>> {
    let index = {
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let is_git = git_http::is_git(uri.path());
        let body = if is_git { String::new() } else { String::from_utf8_lossy(&body).into_owned() };
        let mut received = lock(&shared.received);
        received.push(Received { method: method.to_string(), path, body, status: None });
        received.len() - 1
    };
    let lost = || io::Error::other("the connection is closed without an answer");
    let answer = match shared.fault_for(method, uri.path()) {
        None => respond(shared, method, uri, headers, &body).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Drop) => return Err(lost()),
        Some(Fault::DropAfter) => {
            respond(shared, method, uri, headers, &body).await;
            return Err(lost());
        }
        Some(Fault::HangAfter) => {
            respond(shared, method, uri, headers, &body).await;
            lock(&shared.carried_out).push(index);
            std::future::pending().await
        }
        Some(fault) => fault.answer(),
    };
    if let Some(received) = lock(&shared.received).get_mut(index) {
        received.status = Some(answer.status().as_u16());
    }
    Ok(answer)
}

async fn respond(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    if git_http::is_git(uri.path()) {
        return match credential(headers) {
            Some(token) if token == TOKEN => git_http::serve(shared, method, uri, headers, body).await,
            _ => git_unauthorized().into_response(),
        };
    }
    let answer = match credential(headers) {
        _ if !headers.contains_key(header::USER_AGENT) => {
            api::problem(403, "Request forbidden by administrative rules.")
        }
        None => api::problem(401, "Requires authentication"),
        Some(token) if token == TOKEN => api::answer(shared, method, uri, body),
        Some(_) => api::problem(401, "Bad credentials"),
    };
    let mut answer: Response<Body> = answer.into_response();
    for (name, value) in [
        ("x-github-request-id", "0000:1111:2222:3333:44445555"),
        ("x-ratelimit-limit", "5000"),
        ("x-ratelimit-remaining", "4987"),
        ("github-authentication-token-expiration", "2031-01-02 03:04:05 UTC"),
    ] {
        answer.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    answer
}

/// The token of a `Bearer`, `token` or `Basic` header.
fn credential(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Some(value.to_owned()),
        "basic" => {
            let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
            pair.split_once(':').map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

fn git_unauthorized() -> impl IntoResponse {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"GitHub\"")], "Repository not found.")
}
