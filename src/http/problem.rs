//! An answer that says what was wrong, in words for the sender and an id for the log.
//!
//! Invariant: the text of an internal error stays in the log, and who has no secret cannot fill the log.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// At most one refusal of a stranger is shown in this time; at level `debug` all of them are.
const QUIET: Duration = Duration::from_secs(10);

/// See [`Problem`].
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: String,
    id: u64,
    retry: bool,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        // `RandomState` is seeded by the system and differs with every call; ids need to be distinct, not secret.
        let id = RandomState::new().hash_one(status.as_u16());
        Self { status, error: error.into(), id, retry: false }
    }

    /// A verified delivery that cannot be used. The reason is safe for both the sender and the log: Sentry does not send
    /// again, so an operator has to see it.
    pub(super) fn unusable(error: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, error);
        problem.warn(&problem.error);
        problem
    }

    /// A failure of ours: the sender is told to try again in a few seconds, the log says why.
    pub(super) fn ours(error: &str, cause: impl fmt::Display) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, error);
        problem.warn(&cause);
        Self { retry: true, ..problem }
    }

    /// A refusal before the signature was verified. Operators have to see that their secret is wrong, but anybody can
    /// cause these.
    pub(super) fn stranger(status: StatusCode, error: impl Into<String>, cause: impl fmt::Display) -> Self {
        let problem = Self::new(status, error);
        match SHOWN.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now()) {
            Some(0) => problem.warn(&cause),
            Some(earlier) => {
                problem.warn(&format_args!("{cause} ({earlier} more requests were refused since the last line)"))
            }
            None => problem.debug(&cause),
        }
        problem
    }

    /// A request that is no delivery at all.
    pub(super) fn elsewhere(status: StatusCode, error: &str) -> Self {
        let problem = Self::new(status, error);
        problem.debug(&problem.error);
        problem
    }

    fn warn(&self, cause: &dyn fmt::Display) {
        tracing::warn!(id = %self.shown_id(), status = self.status.as_u16(), %cause, "refused a delivery");
    }

    fn debug(&self, cause: &dyn fmt::Display) {
        tracing::debug!(id = %self.shown_id(), status = self.status.as_u16(), %cause, "refused a request");
    }

    fn shown_id(&self) -> String {
        format!("{:016x}", self.id)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
            id: String,
        }
        let id = self.shown_id();
        let mut response = (self.status, Json(Body { error: self.error, id })).into_response();
        if self.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// When a refusal of a stranger was shown last, and how many were not shown since.
struct Shown {
    last: Option<Instant>,
    hidden: u64,
}

static SHOWN: Mutex<Shown> = Mutex::new(Shown { last: None, hidden: 0 });

impl Shown {
    /// How many were hidden before this one, where it may be shown.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < QUIET) {
            self.hidden += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_refusals_one_is_shown_and_says_how_many_were_not() {
        let (start, mut shown) = (Instant::now(), Shown { last: None, hidden: 0 });
        assert_eq!(shown.next(start), Some(0));
        assert_eq!([1, 2, 9].map(|second| shown.next(start + Duration::from_secs(second))), [None; 3]);
        assert_eq!(shown.next(start + QUIET), Some(3));
        assert_eq!(shown.next(start + QUIET * 2), Some(0));
    }
}
