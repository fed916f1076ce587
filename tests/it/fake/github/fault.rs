//! What can go wrong between a client and GitHub.
//!
//! Invariant: a fault happens once, to the first request that it was planned for.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Response};
use axum::response::IntoResponse;
use hyper::body::Frame;

use super::api;

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This answer instead of the right one; nothing is carried out.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// A secondary rate limit, which comes as 403 or 429, with or without a time.
    SecondaryLimit { status: u16, retry_after: Option<u64> },
    /// The HTML page of a gateway.
    BadGateway,
    /// Drafts are refused, as on private repositories of some plans.
    NoDrafts,
    /// The connection is closed; nothing is carried out.
    Drop,
    /// The request is carried out, and the connection closed without an answer.
    DropAfter,
    /// No answer, ever; nothing is carried out.
    Hang,
    /// The request is carried out, and there is no answer, ever.
    HangAfter,
    /// An answer that arrives byte by byte without an end, so that no single read takes long; nothing is carried out.
    Drip,
}

impl Fault {
    /// An answer with GitHub's usual body.
    pub(crate) fn message(status: u16, message: &str) -> Self {
        let body = serde_json::json!({ "message": message, "documentation_url": "https://docs.github.example/rest" });
        Self::Answer { status, headers: Vec::new(), body: body.to_string() }
    }

    /// The answer that a fault is; those that are none do not get here.
    pub(super) fn answer(self) -> Response<Body> {
        match self {
            Self::Answer { status, headers, body } => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(body)).expect("a sound answer")
            }
            Self::SecondaryLimit { status, retry_after } => {
                let text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
                let mut response = api::problem(status, text).into_response();
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert("retry-after", seconds.into());
                }
                response
            }
            Self::BadGateway => {
                let page = "<html><head><title>Unicorn!</title></head><body><p>Try again.</p></body></html>";
                Response::builder()
                    .status(502)
                    .header("content-type", "text/html")
                    .body(Body::from(page))
                    .expect("sound")
            }
            Self::NoDrafts => {
                api::problem(422, "Draft pull requests are not supported in this repository.").into_response()
            }
            Self::Drip => Response::new(Body::new(Drip(tokio::time::interval(Duration::from_millis(100))))),
            Self::Drop | Self::DropAfter | Self::Hang | Self::HangAfter => {
                unreachable!("the connection deals with these")
            }
        }
    }
}

/// White space for ever, a byte at each tick.
struct Drip(tokio::time::Interval);

impl hyper::body::Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

/// A fault and the request that it waits for.
#[derive(Debug)]
pub(super) struct Planned {
    method: Option<&'static str>,
    path_end: String,
    pub(super) fault: Fault,
}

impl Planned {
    pub(super) fn next(fault: Fault) -> Self {
        match fault {
            Fault::NoDrafts => Self::at("POST", "/pulls", fault),
            fault => Self { method: None, path_end: String::new(), fault },
        }
    }

    pub(super) fn at(method: &'static str, path_end: &str, fault: Fault) -> Self {
        Self { method: Some(method), path_end: path_end.to_owned(), fault }
    }

    pub(super) fn meets(&self, method: &Method, path: &str) -> bool {
        self.method.is_none_or(|wanted| wanted == method.as_str()) && path.ends_with(&self.path_end)
    }
}
