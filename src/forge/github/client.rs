//! Sends one request to GitHub's API, in bounded time and memory, and repeats it only where that is safe.
//!
//! Invariant: what is as good twice as once may be sent up to three times, any other POST never by itself; while GitHub
//! limits us nothing is sent at all; no answer carries our token any further.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use octocrab::Octocrab;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::clock::{self, Moment};
use crate::forge::ForgeError;
use crate::forge::github::address::Address;
use crate::forge::github::answer::{Action, Answer, KEPT_HEADERS, limited, quote};

/// How often a request is made in all.
pub(super) const TRIES: u32 = 3;
/// Most bytes of an answer: a page of 30 pull requests whose bodies are all at GitHub's limit.
const LARGEST_ANSWER: usize = 16 << 20;
const CONNECT: Duration = Duration::from_secs(10);

/// How long to wait for GitHub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Longest time from sending a request to having its whole answer.
    pub call: Duration,
    /// Pause before the second try, which doubles for the third; each varies by half of itself.
    pub pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { call: Duration::from_secs(30), pause: Duration::from_millis(500) }
    }
}

/// What is done with the body of a request.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Post,
    Patch,
}

/// A connection to one GitHub with one credential.
pub(super) struct Client {
    octocrab: Octocrab,
    token: Option<SecretString>,
    timing: Timing,
    /// GitHub asks that writes come one after another (docs, *Best practices for using the REST API*).
    writing: Mutex<()>,
    /// Limits are the token's: one that stops one job stops all. Who goes on asking is shut out (same page).
    limited_until: std::sync::Mutex<Option<Moment>>,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ForgeError::Unauthorized`] for a token that no HTTP header can hold; [`ForgeError::Unavailable`] where the
    /// system has no usable root certificates.
    pub(super) fn new(address: &Address, token: Option<SecretString>, timing: Timing) -> Result<Self, ForgeError> {
        let failed = |why: String| ForgeError::Unavailable { what: format!("cannot set up the GitHub client: {why}") };
        // octocrab panics outside of a runtime, and on a token that cannot stand in a header.
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(failed("it was asked for outside of a Tokio runtime".to_owned()));
        }
        let mut builder = Octocrab::builder()
            .base_uri(address.api.as_str())
            .map_err(|error| failed(error.to_string()))?
            .set_connect_timeout(Some(CONNECT))
            .set_read_timeout(Some(timing.call))
            .set_write_timeout(Some(timing.call));
        if let Some(token) = &token {
            if token.expose_secret().is_empty() || !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(ForgeError::Unauthorized {
                    what: "the GitHub token is empty or holds spaces or control characters: copy it again to where \
                           `forge.token` (or GITHUB_TOKEN) points"
                        .to_owned(),
                });
            }
            builder = builder.personal_token(token.clone());
        }
        let octocrab = builder.build().map_err(|error| failed(quote(&chain(&error))))?;
        Ok(Self { octocrab, token, timing, writing: Mutex::new(()), limited_until: std::sync::Mutex::default() })
    }

    /// An action of this client, for the sentence of an error.
    pub(super) fn action(&self, what: String) -> Action {
        Action { what, signed_in: self.token.is_some() }
    }

    /// Reads `route`, again where the server breaks down or is not reached. Redirects are followed.
    ///
    /// # Errors
    /// Anything but a success.
    pub(super) async fn get(&self, action: &Action, route: &str) -> Result<Answer, ForgeError> {
        self.until_answered(action, route, None::<(Verb, &())>).await
    }

    /// Changes what is at `route`, again where the server breaks down or is not reached: twice is as good as once.
    ///
    /// # Errors
    /// Anything but a success.
    pub(super) async fn patch<B>(&self, action: &Action, route: &str, body: &B) -> Result<Answer, ForgeError>
    where
        B: Serialize + Sync + ?Sized,
    {
        let _one_at_a_time = self.writing.lock().await;
        self.until_answered(action, route, Some((Verb::Patch, body))).await
    }

    /// Adds to what is at `route`, where adding twice is as good as once; again as [`Client::patch`].
    ///
    /// # Errors
    /// Anything but a success.
    pub(super) async fn add<B>(&self, action: &Action, route: &str, body: &B) -> Result<Answer, ForgeError>
    where
        B: Serialize + Sync + ?Sized,
    {
        let _one_at_a_time = self.writing.lock().await;
        self.until_answered(action, route, Some((Verb::Post, body))).await
    }

    async fn until_answered<B>(
        &self,
        action: &Action,
        route: &str,
        body: Option<(Verb, &B)>,
    ) -> Result<Answer, ForgeError>
    where
        B: Serialize + Sync + ?Sized,
    {
        let mut tries = 1;
        loop {
            let error = match self.exchange(action, route, body).await {
                Ok(answer) if answer.is_success() => return Ok(answer),
                Ok(answer) if answer.is_breakdown() => answer.refusal(action),
                Ok(answer) => return Err(answer.refusal(action)),
                Err(error @ ForgeError::RateLimited { .. }) => return Err(error),
                Err(error) => error,
            };
            if tries == TRIES {
                return Err(error);
            }
            tracing::debug!(%error, tries, "GitHub did not answer; asking again");
            self.pause(tries).await;
            tries += 1;
        }
    }

    /// Sends `body` to `route` once and gives back whatever was answered, a refusal too.
    ///
    /// # Errors
    /// [`ForgeError::Unavailable`] where no whole answer came; the request may have been carried out nevertheless.
    /// [`ForgeError::RateLimited`] where it was not sent.
    pub(super) async fn post<B>(&self, action: &Action, route: &str, body: &B) -> Result<Answer, ForgeError>
    where
        B: Serialize + Sync + ?Sized,
    {
        let _one_at_a_time = self.writing.lock().await;
        self.exchange(action, route, Some((Verb::Post, body))).await
    }

    /// Waits before the try after this many.
    pub(super) async fn pause(&self, tries: u32) {
        let pause = self.timing.pause * 2_u32.saturating_pow(tries.saturating_sub(1));
        // The standard library's hasher is seeded at random, which is random enough to spread retries.
        let jitter = RandomState::new().build_hasher().finish() % 1_000;
        let share = u32::try_from(jitter).unwrap_or(0);
        tokio::time::sleep(pause / 2 + pause * share / 1_000).await;
    }

    /// One request and its answer: a GET where there is no body.
    async fn exchange<B>(&self, action: &Action, route: &str, body: Option<(Verb, &B)>) -> Result<Answer, ForgeError>
    where
        B: Serialize + Sync + ?Sized,
    {
        let lost = |why: &str| ForgeError::Unavailable {
            what: format!(
                "cannot {}: no answer from GitHub ({why}); check the network and `forge.api_url`",
                action.what
            ),
        };
        if let Some(retry_at) = self.limit().filter(|at| *at > clock::now()) {
            let what = format!("cannot {}: GitHub has limited our requests; {}", action.what, limited(retry_at));
            return Err(ForgeError::RateLimited { retry_at, what });
        }
        // octocrab's own time-outs are per read: a server that drips bytes would hold us for ever.
        match tokio::time::timeout(self.timing.call, self.transfer(route, body)).await {
            Ok(Ok(answer)) => {
                if let Some(retry_at) = answer.retry_at(clock::now()) {
                    *self.limit() = Some(retry_at);
                }
                Ok(answer)
            }
            Ok(Err(why)) => Err(lost(&self.without_token(&why))),
            Err(_) => Err(lost(&format!("nothing whole within {:?}", self.timing.call))),
        }
    }

    fn limit(&self) -> MutexGuard<'_, Option<Moment>> {
        self.limited_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn transfer<B>(&self, route: &str, body: Option<(Verb, &B)>) -> Result<Answer, String>
    where
        B: Serialize + Sync + ?Sized,
    {
        let response = match body {
            Some((Verb::Post, body)) => self.octocrab._post(route, Some(body)).await,
            Some((Verb::Patch, body)) => self.octocrab._patch(route, Some(body)).await,
            None => self.octocrab._get(route).await,
        };
        let response = response.map_err(|error| quote(&chain(&error)))?;
        let status = response.status().as_u16();
        let headers: BTreeMap<&'static str, String> = KEPT_HEADERS
            .into_iter()
            .filter_map(|name| Some((name, self.without_token(response.headers().get(name)?.to_str().ok()?))))
            .collect();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                format!("an answer of more than {} MiB", LARGEST_ANSWER >> 20)
            } else {
                quote(&chain(error.as_ref()))
            }
        })?;
        let body = self.without_token(&String::from_utf8_lossy(&body.to_bytes()));
        Ok(Answer { status, headers, body })
    }

    /// Text from outside, which might echo what we sent.
    fn without_token(&self, text: &str) -> String {
        match &self.token {
            Some(token) => text.replace(token.expose_secret(), "[token]"),
            None => text.to_owned(),
        }
    }
}

/// An error with its causes; octocrab's own texts do not include them all.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}
