//! A stand-in for Sentry's API: a plain model of organisations and issues behind HTTP on loopback.
//!
//! Invariant: it answers as the real one does (trailing slashes, `Link` headers, refusals in JSON) and logs every request, so
//! that a test can say who was asked what, and with which token.
//!
//! ```ignore
//! let fake = FakeSentry::start().await;
//! fake.issue("acme", "web", "101").short_id("WEB-1").event(event).trace(trace).committers(committers);
//! let sentry = fake.client();
//! ```

#![expect(clippy::expect_used, reason = "a fake that cannot serve ends the test that uses it")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LINK, LOCATION};
use axum::http::{HeaderMap, Request, Response, StatusCode};
use patchwright::source::sentry::api::Sentry;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The token that a new fake accepts.
pub(crate) const TOKEN: &str = "sntryu_0000000000000000000000000000000000000000000000000000000000000000";

/// What goes wrong with a request instead of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status, with this JSON.
    Status(u16, Value),
    /// 429, for so many more seconds by `X-Sentry-Rate-Limit-Reset`.
    Limited(i64),
    /// Never an answer.
    Hang,
    /// 200 with a page that is no JSON.
    Garbage,
    /// 200 with so many bytes of JSON.
    Large(usize),
    /// 302 to this address.
    Redirect(String),
    /// 200 with this JSON.
    Answer(Value),
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Path as it was on the wire, still encoded.
    pub(crate) path: String,
    /// Query as it was on the wire.
    pub(crate) query: String,
    /// The `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// The `User-Agent` header.
    pub(crate) agent: Option<String>,
}

#[derive(Default)]
struct Model {
    url: String,
    tokens: Vec<String>,
    scopes: Vec<String>,
    region: Option<Value>,
    page_size: usize,
    organisations: Vec<String>,
    projects: Vec<(String, String)>,
    issues: Vec<IssueModel>,
    releases: HashMap<(String, String), Value>,
    traces: HashMap<String, Value>,
    faults: VecDeque<(String, usize, Fault)>,
    log: Vec<Asked>,
}

struct IssueModel {
    org: String,
    project: String,
    json: Value,
    /// In the order in which they happened.
    events: Vec<Value>,
    committers: Option<Value>,
}

/// The model, shared between the test and the server.
#[derive(Default)]
struct Shared(Mutex<Model>);

impl Shared {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().expect("no test panics while it holds the model")
    }
}

/// The running stand-in; it stops when it is dropped.
pub(crate) struct FakeSentry {
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeSentry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeSentry {
    /// Starts an empty Sentry on a free port of loopback, which names itself as every organisation's region.
    pub(crate) async fn start() -> Self {
        // As `main` does; the second time in one process it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let shared = Arc::new(Shared::default());
        *shared.model() = Model {
            region: Some(json!(url)),
            url,
            tokens: vec![TOKEN.to_owned()],
            scopes: ["event:read", "org:read", "project:read"].map(str::to_owned).to_vec(),
            page_size: 100,
            ..Model::default()
        };
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the fake serves") });
        Self { shared, server }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        self.shared.model().url.clone()
    }

    /// A client with the right token that does not wait long.
    pub(crate) fn client(&self) -> Sentry {
        self.client_with(Some(TOKEN))
    }

    /// A client with this token that does not wait long.
    pub(crate) fn client_with(&self, token: Option<&str>) -> Sentry {
        let client = Sentry::new(&self.url(), token.map(SecretString::from)).expect("the fake's address can be used");
        client.with_backoff(Duration::from_millis(1))
    }

    /// Adds an issue; its organisation and project come to be with it.
    pub(crate) fn issue(&self, org: &str, project: &str, id: &str) -> FakeIssue<'_> {
        let json = json!({
            "id": id, "title": format!("Error {id}"), "level": "error", "status": "unresolved", "substatus": "new",
            "issueCategory": "error", "count": "1", "userCount": 1, "firstSeen": "2026-03-01T10:00:00Z",
            "lastSeen": "2026-03-01T10:00:00Z", "permalink": format!("{}/organizations/{org}/issues/{id}/", self.url()),
            "project": { "id": "1", "slug": project, "name": project },
        });
        let mut model = self.shared.model();
        model.project(org, project);
        let (org, project) = (org.to_owned(), project.to_owned());
        model.issues.push(IssueModel { org, project, json, events: Vec::new(), committers: None });
        FakeIssue { fake: self, at: model.issues.len() - 1 }
    }

    /// Adds organisations without anything in them.
    pub(crate) fn organisations(&self, slugs: &[&str]) {
        let mut model = self.shared.model();
        slugs.iter().for_each(|slug| model.organisation(slug));
    }

    /// Adds a release.
    pub(crate) fn release(&self, org: &str, version: &str, json: Value) {
        let mut model = self.shared.model();
        model.organisation(org);
        model.releases.insert((org.to_owned(), version.to_owned()), json);
    }

    /// Accepts only this token from now on.
    pub(crate) fn token(&self, token: &str) {
        self.shared.model().tokens = vec![token.to_owned()];
    }

    /// What the tokens may do.
    pub(crate) fn scopes(&self, scopes: &[&str]) {
        self.shared.model().scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    }

    /// What organisations name as their region; `None` leaves the field out, as older servers do.
    pub(crate) fn region(&self, url: Option<&str>) {
        self.shared.model().region = url.map(Value::from);
    }

    /// Gives lists in pages of this size.
    pub(crate) fn page_size(&self, size: usize) {
        self.shared.model().page_size = size;
    }

    /// Lets the next `n` requests whose path contains `part` go wrong.
    pub(crate) fn fault(&self, part: &str, n: usize, fault: Fault) {
        self.shared.model().faults.push_back((part.to_owned(), n, fault));
    }

    /// Lets the next `n` requests of any kind run into the rate limit, which ends after `reset`.
    pub(crate) fn limit_next(&self, n: usize, reset: Duration) {
        self.fault("/", n, Fault::Limited(i64::try_from(reset.as_secs()).expect("a sensible time")));
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.shared.model().log.clone()
    }

    /// How many requests there were whose path contains `part`.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.log().iter().filter(|asked| asked.path.contains(part)).count()
    }
}

/// An issue of the fake, to be told more.
#[derive(Clone, Copy)]
pub(crate) struct FakeIssue<'a> {
    fake: &'a FakeSentry,
    at: usize,
}

impl FakeIssue<'_> {
    /// The id that people use.
    pub(crate) fn short_id(self, short_id: &str) -> Self {
        self.field("shortId", json!(short_id))
    }

    /// Any field of the issue.
    pub(crate) fn field(self, name: &str, value: Value) -> Self {
        self.fake.shared.model().issues[self.at].json[name] = value;
        self
    }

    /// All fields of this object, over those that are there.
    pub(crate) fn fields(self, fields: &Value) -> Self {
        for (name, value) in fields.as_object().expect("fields are an object") {
            self.field(name, value.clone());
        }
        self
    }

    /// An event, newer than those before it.
    pub(crate) fn event(self, json: Value) -> Self {
        self.fake.shared.model().issues[self.at].events.push(json);
        self
    }

    /// The trace of the latest event.
    pub(crate) fn trace(self, json: Value) -> Self {
        let mut model = self.fake.shared.model();
        let event = model.issues[self.at].events.last().expect("a trace belongs to an event: add that first");
        let id = event.pointer("/contexts/trace/trace_id").and_then(Value::as_str).expect("the event names its trace");
        let id = id.to_owned();
        model.traces.insert(id, json);
        drop(model);
        self
    }

    /// The suspect commits of all its events.
    pub(crate) fn committers(self, json: Value) -> Self {
        self.fake.shared.model().issues[self.at].committers = Some(json);
        self
    }
}

impl Model {
    fn organisation(&mut self, slug: &str) {
        if !self.organisations.iter().any(|known| known == slug) {
            self.organisations.push(slug.to_owned());
        }
    }

    fn project(&mut self, org: &str, project: &str) {
        self.organisation(org);
        self.projects.push((org.to_owned(), project.to_owned()));
    }

    /// The first fault that is meant for this path.
    fn next_fault(&mut self, path: &str) -> Option<Fault> {
        let at = self.faults.iter().position(|(part, n, _)| *n > 0 && path.contains(part.as_str()))?;
        let (_, n, fault) = &mut self.faults[at];
        *n -= 1;
        Some(fault.clone())
    }

    /// The scope that a path needs.
    fn scope(parts: &[&str]) -> &'static str {
        match parts {
            ["organizations", _, "issues", ..] => "event:read",
            ["projects", ..] | ["organizations", _, "releases", ..] => "project:read",
            ["organizations", ..] => "org:read",
            _ => "",
        }
    }

    fn answer(&self, parts: &[&str], query: &str) -> Option<Value> {
        match parts {
            [] => Some(
                json!({ "version": "0", "auth": { "scopes": self.scopes }, "user": { "id": "1", "username": "robin" } }),
            ),
            ["organizations"] => Some(self.organisations.iter().map(|slug| json!({ "slug": slug })).collect()),
            ["organizations", org] => self.organisation_json(org),
            ["organizations", org, "issues", id] => Some(self.find(org, id)?.json.clone()),
            ["organizations", org, "issues", id, "events", which] => self.find(org, id)?.event(which, query).cloned(),
            ["organizations", org, "shortids", short] => {
                let issue = self.find(org, short)?;
                Some(json!({ "organizationSlug": org, "projectSlug": issue.project, "groupId": issue.json["id"],
                    "shortId": short, "group": issue.json }))
            }
            ["organizations", _, "trace", id] => self.traces.get(*id).cloned(),
            ["organizations", org, "releases", version] => {
                self.releases.get(&((*org).to_owned(), (*version).to_owned())).cloned()
            }
            ["projects", org, project] => {
                let known = self.projects.iter().any(|(o, p)| o == org && p == project);
                known.then(|| json!({ "slug": project, "organization": { "slug": org } }))
            }
            ["projects", org, project, "events", id, "committers"] => {
                let mut issues = self.issues.iter().filter(|issue| issue.org == *org && issue.project == *project);
                issues.find(|issue| issue.events.iter().any(|event| event["eventID"] == **id))?.committers.clone()
            }
            _ => None,
        }
    }

    fn organisation_json(&self, org: &str) -> Option<Value> {
        let known = self.organisations.iter().any(|slug| slug == org);
        let links = self.region.as_ref().map_or_else(|| json!({}), |region| json!({ "regionUrl": region }));
        known.then(|| json!({ "slug": org, "links": links }))
    }

    /// An issue by its id or its short id.
    fn find(&self, org: &str, id: &str) -> Option<&IssueModel> {
        self.issues.iter().find(|issue| issue.org == org && (issue.json["id"] == *id || issue.json["shortId"] == *id))
    }
}

impl IssueModel {
    /// Of the named environments, where the query names some.
    fn event(&self, which: &str, query: &str) -> Option<&Value> {
        let wanted: Vec<_> =
            query.split('&').filter_map(|pair| pair.strip_prefix("environment=")).map(decoded).collect();
        let tagged = |event: &&Value| {
            let mut tags = event["tags"].as_array().into_iter().flatten().filter(|tag| tag["key"] == "environment");
            wanted.is_empty() || tags.any(|tag| wanted.iter().any(|name| tag["value"] == **name))
        };
        match which {
            "oldest" => self.events.iter().find(tagged),
            "latest" | "recommended" => self.events.iter().rev().find(tagged),
            id => self.events.iter().find(|event| event["eventID"] == *id),
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let text = |headers: &HeaderMap, name: &str| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let authorization = text(request.headers(), AUTHORIZATION.as_str());
    let agent = text(request.headers(), "user-agent");
    let fault = {
        let mut model = shared.model();
        model.log.push(Asked { path: path.clone(), query: query.clone(), authorization: authorization.clone(), agent });
        model.next_fault(&path)
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(fault) => faulty(&fault),
        None => model_answer(&shared.model(), &path, &query, authorization.as_deref()),
    }
}

fn faulty(fault: &Fault) -> Response<Body> {
    match fault {
        Fault::Status(status, body) => json_response(*status, body),
        Fault::Limited(seconds) => {
            let detail = "You are attempting to use this endpoint too frequently. Limit is 5 requests in 1 seconds";
            let mut response = json_response(429, &json!({ "detail": detail }));
            let reset = patchwright::clock::now().timestamp() + seconds;
            response.headers_mut().insert("X-Sentry-Rate-Limit-Reset", reset.into());
            response
        }
        Fault::Garbage => Response::new(Body::from("<html>Welcome to nginx</html>")),
        Fault::Large(bytes) => Response::new(Body::from(format!("\"{}\"", "x".repeat(*bytes)))),
        Fault::Redirect(to) => {
            let response = Response::builder().status(StatusCode::FOUND).header(LOCATION, to);
            response.body(Body::empty()).expect("the address is a header value")
        }
        Fault::Answer(body) => json_response(200, body),
        Fault::Hang => unreachable!("hangs before"),
    }
}

fn model_answer(model: &Model, path: &str, query: &str, authorization: Option<&str>) -> Response<Body> {
    let token = authorization.and_then(|header| header.strip_prefix("Bearer "));
    let refusal = |status, detail: &str| json_response(status, &json!({ "detail": detail }));
    match token {
        None => return refusal(401, "Authentication credentials were not provided."),
        Some(token) if !model.tokens.iter().any(|known| known == token) => return refusal(401, "Invalid token"),
        Some(_) => {}
    }
    // The real server redirects an address without its last slash, and clients lose their token on the way.
    let Some(path) = path.strip_prefix("/api/0/").filter(|rest| rest.is_empty() || rest.ends_with('/')) else {
        return refusal(404, "The requested resource does not exist");
    };
    let parts: Vec<String> = path.split_terminator('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let scope = Model::scope(&parts);
    if !scope.is_empty() && !model.scopes.iter().any(|known| known == scope) {
        return refusal(403, "You do not have permission to perform this action.");
    }
    match model.answer(&parts, query) {
        Some(Value::Array(list)) => page(model, &list, query),
        Some(json) => json_response(200, &json),
        None => refusal(404, "The requested resource does not exist"),
    }
}

/// One page of a list, with the `Link` header that Sentry sends; its addresses are wrong, as behind some proxies.
fn page(model: &Model, list: &[Value], query: &str) -> Response<Body> {
    let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).map(decoded);
    let start = cursor.and_then(|cursor| cursor.split(':').nth(1)?.parse().ok()).unwrap_or(0_usize);
    let end = list.len().min(start + model.page_size);
    let more = end < list.len();
    let link = format!(
        r#"<http://wrong.invalid/>; rel="previous"; results="{}"; cursor="0:0:1", <http://wrong.invalid/>; rel="next"; results="{more}"; cursor="0:{end}:0""#,
        start > 0
    );
    let mut response = json_response(200, &json!(list.get(start..end).unwrap_or_default()));
    response.headers_mut().insert(LINK, link.parse().expect("a link is a header value"));
    response
}

fn json_response(status: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    response.body(Body::from(body.to_string())).expect("the response has a status and a type")
}

/// A segment of a path or a value of a query without its percent signs.
fn decoded(text: &str) -> String {
    let query = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned()).collect()
}
