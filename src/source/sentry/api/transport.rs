//! Sends one GET and reads the answer: time-outs, size cap, retries, rate limits.
//!
//! Invariant: waiting is bounded and ends when the future is dropped; no answer larger than [`BODY`] is held in memory; no
//! redirect leaves the server.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::address;
use super::error::SentryError;
use crate::clock::{self, Moment};
use crate::source::sentry::event::text;

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for a whole request.
const TOTAL: Duration = Duration::from_secs(30);
/// Largest answer, in bytes.
const BODY: usize = 16 * 1024 * 1024;
/// Largest part of a refusal that is read, in bytes.
const REFUSAL: usize = 64 * 1024;
/// Longest quotation of Sentry's own words, in bytes.
const DETAIL: usize = 200;
/// How often a request is tried.
const TRIES: u32 = 3;
/// Pause before the second try; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait for a rate limit to end.
const PATIENCE: TimeDelta = TimeDelta::seconds(20);
/// Longest time that a rate limit is believed to last; a wrong clock must not put a job off for years.
const LONGEST_LIMIT: TimeDelta = TimeDelta::hours(1);
/// Most redirects within the server.
const REDIRECTS: usize = 5;
/// When the rate limit ends, in seconds since 1970 (<https://docs.sentry.io/api/ratelimits/>).
const RESET: &str = "x-sentry-rate-limit-reset";

/// The HTTP client with its token.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: Client,
    /// Marked as sensitive, so that `Debug` does not show it.
    authorization: Option<HeaderValue>,
    timeout: Duration,
    backoff: Duration,
}

/// An answer, and where it goes on.
pub(super) struct Page {
    /// The JSON.
    pub(super) body: Value,
    /// Cursor of the next page.
    pub(super) next: Option<String>,
}

/// Why a try did not succeed.
enum Setback {
    /// Trying again will not help.
    Final(SentryError),
    /// It may help after a pause.
    Passing(String),
    /// It will help after this moment.
    Limited(Option<Moment>),
}

impl Transport {
    /// A client that sends this token. An empty token is none: compose files set variables to nothing.
    pub(super) fn new(token: Option<&SecretString>) -> Result<Self, SentryError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // reqwest would panic.
            return Err(SentryError::Tls("the program has installed no cryptography".to_owned()));
        }
        let same_server = Policy::custom(|attempt| {
            let stays = attempt.previous().iter().all(|previous| previous.origin() == attempt.url().origin());
            if stays && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
        });
        let client = Client::builder()
            .user_agent(concat!("patchwright/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .redirect(same_server)
            .referer(false)
            .build()
            .map_err(|error| SentryError::Tls(plain(&error)))?;
        let token = token.map(|token| token.expose_secret().trim()).filter(|token| !token.is_empty());
        let authorization = token.map(bearer).transpose()?;
        Ok(Self { client, authorization, timeout: TOTAL, backoff: BACKOFF })
    }

    pub(super) const fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    pub(super) const fn set_backoff(&mut self, backoff: Duration) {
        self.backoff = backoff;
    }

    pub(super) const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// One page of an endpoint. `scope` is what a 403 tells the operator to add.
    pub(super) async fn get(&self, url: &Url, scope: &'static str) -> Result<Page, SentryError> {
        let authorization = self.authorization.as_ref().ok_or(SentryError::NoToken)?;
        let mut tries = 1;
        loop {
            let pause = match self.once(url, authorization, scope).await {
                Ok(page) => return Ok(page),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Passing(why)) if tries >= TRIES => {
                    return Err(SentryError::Unavailable { endpoint: address::shown(url), tries, why });
                }
                Err(Setback::Passing(why)) => {
                    tracing::debug!(endpoint = address::shown(url), why, tries, "asking Sentry again");
                    self.pause(tries)
                }
                Err(Setback::Limited(end)) => {
                    let now = clock::now();
                    let retry_at = end.unwrap_or(now + TimeDelta::seconds(1)).clamp(now, now + LONGEST_LIMIT);
                    if tries >= TRIES || retry_at - now > PATIENCE {
                        return Err(SentryError::RateLimited { endpoint: address::shown(url), retry_at });
                    }
                    (retry_at - now).to_std().unwrap_or_default() + self.pause(tries)
                }
            };
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    async fn once(&self, url: &Url, authorization: &HeaderValue, scope: &'static str) -> Result<Page, Setback> {
        let request = self.client.get(url.clone()).timeout(self.timeout).header(AUTHORIZATION, authorization);
        let response = request.send().await.map_err(|error| Setback::Passing(plain(&error)))?;
        let status = response.status();
        let endpoint = address::shown(url);
        if status.is_success() {
            let next = header(response.headers(), LINK.as_str()).and_then(address::next_cursor);
            let bytes = read(response, BODY).await?.ok_or_else(|| {
                Setback::Final(SentryError::Unreadable {
                    endpoint: endpoint.clone(),
                    why: "it is larger than 16 MiB".to_owned(),
                })
            })?;
            let body = serde_json::from_slice(&bytes).map_err(|error| {
                Setback::Final(SentryError::Unreadable { endpoint, why: format!("it is no JSON ({error})") })
            })?;
            return Ok(Page { body, next });
        }
        if status.is_redirection() {
            let to = header(response.headers(), LOCATION.as_str()).and_then(|location| url.join(location).ok());
            let to =
                to.map_or_else(|| "nowhere".to_owned(), |to| text::line(&to.origin().ascii_serialization(), DETAIL));
            return Err(Setback::Final(SentryError::Redirected { endpoint, to }));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Setback::Limited(end_of_limit(response.headers(), clock::now())));
        }
        let detail = read(response, REFUSAL).await?.map(|bytes| detail(&bytes)).unwrap_or_default();
        Err(match status {
            StatusCode::UNAUTHORIZED => Setback::Final(SentryError::Unauthorized { endpoint, detail }),
            StatusCode::FORBIDDEN => Setback::Final(SentryError::Forbidden { endpoint, detail, scope }),
            StatusCode::NOT_FOUND => Setback::Final(SentryError::NotFound { endpoint, detail }),
            status if status.is_server_error() => {
                Setback::Passing(format!("{} {detail}", status.as_u16()).trim().to_owned())
            }
            status => Setback::Final(SentryError::Refused { endpoint, status: status.as_u16(), detail }),
        })
    }

    /// Doubles with each try, and varies by half so that many workers do not come back together.
    fn pause(&self, tries: u32) -> Duration {
        let random = RandomState::new().hash_one(tries) % 1000;
        #[expect(clippy::cast_precision_loss, reason = "below one thousand")]
        let factor = 0.5 + random as f64 / 1000.0;
        self.backoff.saturating_mul(1 << tries.saturating_sub(1).min(8)).mul_f64(factor)
    }
}

fn bearer(token: &str) -> Result<HeaderValue, SentryError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| SentryError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body; `None` where it is larger than the cap.
async fn read(mut response: Response, cap: usize) -> Result<Option<Vec<u8>>, Setback> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Setback::Passing(plain(&error)))? {
        if body.len() + chunk.len() > cap {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// When a rate limit ends: `Retry-After` where a proxy sends it, since it needs no common clock, else Sentry's own header.
fn end_of_limit(headers: &HeaderMap, now: Moment) -> Option<Moment> {
    let after = header(headers, RETRY_AFTER.as_str()).and_then(|text| {
        let seconds = text.parse::<u32>().ok().map(|seconds| now + TimeDelta::seconds(seconds.into()));
        seconds.or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|moment| moment.to_utc()))
    });
    let reset = || DateTime::from_timestamp(header(headers, RESET)?.parse::<f64>().ok()?.ceil() as i64, 0);
    after.or_else(reset)
}

/// Sentry's own words in a refusal: `{"detail": …}`, a bare string, or a map of fields. Pages of proxies say nothing useful.
fn detail(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = json.get("detail").unwrap_or(&json);
    let said = said.get("message").unwrap_or(said);
    match said {
        Value::Null => String::new(),
        Value::String(said) => text::line(said, DETAIL),
        other => text::line(&other.to_string(), DETAIL),
    }
}

/// A failure of the connection in words, with its causes, without the address: that is in our own message, less its query.
fn plain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text::line(if causes.is_empty() { "the connection failed" } else { &causes }, DETAIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_end_of_a_rate_limit_is_read_from_either_header() {
        let now = clock::from_millis(1_000_000);
        let end =
            |pairs: &[(&'static str, &str)]| end_of_limit(&headers(pairs), now).map(|end| (end - now).num_seconds());
        assert_eq!(end(&[("retry-after", "7"), (RESET, "1015")]), Some(7));
        assert_eq!(end(&[(RESET, "1015")]), Some(15));
        assert_eq!(end(&[("retry-after", "Thu, 01 Jan 1970 00:17:00 GMT")]), Some(20));
        assert_eq!(end(&[(RESET, "soon")]), None);
    }

    #[test]
    fn sentrys_words_are_taken_from_every_form_of_refusal() {
        assert_eq!(detail(br#"{"detail":"Invalid token"}"#), "Invalid token");
        assert_eq!(detail(br#"{"detail":{"code":"sso","message":"Must login via SSO"}}"#), "Must login via SSO");
        assert_eq!(detail(br#""Too many""#), "Too many");
        assert_eq!(detail(br#"{"query":["Bad"]}"#), r#"{"query":["Bad"]}"#);
        assert_eq!(detail(b"<html>nginx</html>"), "");
    }
}
