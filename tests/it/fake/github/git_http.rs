//! Git over HTTP through git's own server program.
//!
//! Invariant: the protocol is git's, not ours; git runs with none of the machine's configuration.

use std::process::Stdio;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::response::IntoResponse;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::model::Permission;
use super::{LOGIN, Shared, api};

/// `/owner/name.git/…`
pub(super) fn is_git(path: &str) -> bool {
    split(path).is_some()
}

/// Owner and name, and the rest of the path with its slash.
fn split(path: &str) -> Option<(&str, &str)> {
    let (repository, rest) = path.strip_prefix('/')?.split_once(".git/")?;
    let end = path.len() - rest.len() - 1;
    (repository.matches('/').count() == 1).then_some((repository, path.get(end..)?))
}

/// Runs `git http-backend` as a CGI program (git-http-backend(1)).
pub(super) async fn serve(
    shared: &Shared,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response<Body> {
    let Some((name, rest)) = split(uri.path()) else { return api::problem(404, "Not Found").into_response() };
    let query = uri.query().unwrap_or_default();
    let (found, renamed) = {
        let model = shared.model();
        (model.repository(name), model.renamed(name))
    };
    let repository = match (found, renamed) {
        (Some(repository), _) => repository,
        (None, Some(present)) => {
            let location = format!("{}/{}.git{rest}?{query}", shared.url, present.full_name());
            return Response::builder().status(301).header("location", location).body(Body::empty()).expect("sound");
        }
        (None, None) => return api::problem(404, "Not Found").into_response(),
    };
    if rest == "/git-receive-pack" || query.contains("service=git-receive-pack") {
        let withheld = shared.model().withheld.contains(&Permission::Contents);
        let refusal = match (repository.archived, withheld) {
            (true, _) => "This repository was archived so it is read-only.".to_owned(),
            (false, true) => format!("Permission to {}.git denied to {LOGIN}.", repository.full_name()),
            (false, false) => String::new(),
        };
        if !refusal.is_empty() {
            let plain = Response::builder().status(403).header("content-type", "text/plain");
            return plain.body(Body::from(refusal)).expect("sound");
        }
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", &repository.path)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", LOGIN)
        .env("PATH_INFO", rest)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("git starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let body = body.clone();
    let writing = tokio::spawn(async move {
        // git may end before it has read everything, when it refuses.
        let _ = stdin.write_all(&body).await;
    });
    let output = child.wait_with_output().await.expect("git ends");
    writing.await.expect("the writer does not panic");
    cgi_answer(&output.stdout)
}

/// RFC 3875 §6: headers, an empty line, the body; the status is a header.
fn cgi_answer(output: &[u8]) -> Response<Body> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("git http-backend wrote headers");
    let (head, body) = output.split_at(end);
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(head).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap_or("500")),
            name => response.header(name, value),
        };
    }
    response.body(Body::from(body.get(4..).unwrap_or_default().to_vec())).expect("a sound answer")
}
