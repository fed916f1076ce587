//! One answer of GitHub, and what it means where it is not a success.
//!
//! Invariant: every refusal becomes a sentence that names the action, GitHub's reason and the next step; GitHub's own
//! text is capped and on one line, because it ends up in logs, terminals and the dashboard.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use serde::de::DeserializeOwned;

use crate::clock::Moment;
use crate::forge::ForgeError;
use crate::forge::github::wire::{Detail, Problem};

/// Most characters of GitHub's text in a message.
const QUOTE: usize = 300;
/// How long to wait where a limit names no time (GitHub docs, *Best practices for using the REST API*: "at least one
/// minute").
const UNNAMED_WAIT: TimeDelta = TimeDelta::seconds(60);
/// GitHub's longest window; a longer wait would be a broken clock somewhere.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// The headers that are kept of an answer.
pub(super) const KEPT_HEADERS: [&str; 8] = [
    "x-github-request-id",
    "retry-after",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-github-sso",
    "x-accepted-github-permissions",
    "x-oauth-scopes",
    "github-authentication-token-expiration",
];

/// What a token has to be given. One call may need less, but a token with less would only fail at the next.
pub(super) const NEEDS: &str = "*Pull requests: write* and *Contents: write*";

/// What was attempted, for the sentence of an error.
#[derive(Clone, Debug)]
pub(super) struct Action {
    /// Continues "cannot …".
    pub(super) what: String,
    /// Whether a token is configured at all.
    pub(super) signed_in: bool,
}

/// An answer that arrived whole.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) body: String,
}

impl Answer {
    /// One of [`KEPT_HEADERS`].
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether the request was carried out.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the server broke down or was not reached by its proxy; the request may have been carried out.
    pub(super) fn is_breakdown(&self) -> bool {
        self.status >= 500 || self.status == 408
    }

    /// The JSON of a success.
    pub(super) fn read<T: DeserializeOwned>(&self, action: &Action) -> Result<T, ForgeError> {
        if !self.is_success() {
            return Err(self.refusal(action));
        }
        serde_json::from_str(&self.body).map_err(|error| ForgeError::Unavailable {
            what: format!(
                "cannot {}: GitHub's answer{} is not what its API describes ({}); check that `forge.api_url` is the \
                 address of a GitHub API",
                action.what,
                self.request(),
                quote(&error.to_string())
            ),
        })
    }

    /// What GitHub says is wrong: its message and the details of it.
    pub(super) fn problem(&self) -> Problem {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The error that an answer other than a success stands for.
    pub(super) fn refusal(&self, action: &Action) -> ForgeError {
        let reason = self.reason();
        let happened = format!("cannot {}: GitHub answered {} ({reason}{})", action.what, self.status, self.request());
        if let Some(retry_at) = self.retry_at(crate::clock::now()) {
            return ForgeError::RateLimited { retry_at, what: format!("{happened}; {}", limited(retry_at)) };
        }
        match self.status {
            401 | 403 | 404 if !action.signed_in => ForgeError::Unauthorized {
                what: format!(
                    "{happened}; no token is configured: set GITHUB_TOKEN, or `forge.token` in patchwright.toml, to a \
                     token with {NEEDS}"
                ),
            },
            401 => ForgeError::Unauthorized {
                what: format!(
                    "{happened}; the token is wrong, expired or revoked: make a new one with {NEEDS} and put it where \
                     `forge.token` (or GITHUB_TOKEN) points"
                ),
            },
            403 if self.header("x-github-sso").is_some() => ForgeError::Forbidden {
                what: format!(
                    "{happened}; the organization asks for single sign-on: authorise the token for it under \
                     *Settings, Developer settings, Personal access tokens, Configure SSO*"
                ),
            },
            403 if reason.contains("archived") => ForgeError::Refused {
                what: format!(
                    "{happened}; unarchive the repository, or remove its `[[project]]` from patchwright.toml"
                ),
            },
            403 | 451 => ForgeError::Forbidden {
                what: match self.header("x-accepted-github-permissions") {
                    Some(accepted) => {
                        format!("{happened}; give the token {NEEDS} for this repository (GitHub asks for `{}`)", {
                            quote(accepted)
                        })
                    }
                    None => format!("{happened}; give the token {NEEDS} for this repository"),
                },
            },
            404 | 410 => ForgeError::NotFound {
                what: format!(
                    "{happened}; check the name, and that the token may see it: GitHub hides what a token was not \
                     given; give it {NEEDS} for this repository"
                ),
            },
            300..=399 => ForgeError::Unavailable {
                what: format!("{happened}; the repository has moved: use its present name in patchwright.toml"),
            },
            409 => ForgeError::Unavailable {
                what: format!("{happened}; something else is changing it, and trying again later may help"),
            },
            _ if self.is_breakdown() => ForgeError::Unavailable {
                what: format!("{happened}; this is GitHub's side, and trying again later may help"),
            },
            _ => ForgeError::Refused { what: format!("{happened}; it would be refused again as it is") },
        }
    }

    /// The request's id, for GitHub's support.
    fn request(&self) -> String {
        self.header("x-github-request-id").map(|id| format!(", request {}", quote(id))).unwrap_or_default()
    }

    /// GitHub's own words, on one line.
    pub(super) fn reason(&self) -> String {
        let problem = self.problem();
        if problem.message.is_empty() && problem.errors.is_empty() {
            // A gateway answers with an HTML page, which is of no use in a sentence.
            return if self.body.trim_start().starts_with('<') { "an HTML page".into() } else { quote(&self.body) };
        }
        let details = problem.errors.iter().map(|detail| match detail {
            Detail::Text(text) => text.clone(),
            Detail::Object { message: Some(message), .. } => message.clone(),
            Detail::Object { field, code, .. } => {
                format!("{} {}", field.as_deref().unwrap_or("something"), code.as_deref().unwrap_or("wrong"))
            }
            Detail::Other(_) => String::new(),
        });
        let parts: Vec<String> = std::iter::once(problem.message.clone()).chain(details).collect();
        let text = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(": ");
        quote(text.trim_end_matches('.'))
    }

    /// When to ask again, where this is a primary or secondary rate limit. Both come as 403 or 429, the secondary one
    /// at times with nothing but its text (GitHub docs, *Rate limits for the REST API*).
    pub(super) fn retry_at(&self, now: Moment) -> Option<Moment> {
        if !matches!(self.status, 403 | 429) {
            return None;
        }
        let reason = self.reason().to_ascii_lowercase();
        let by_text = ["rate limit", "abuse detection"].iter().any(|text| reason.contains(text));
        let used_up = self.header("x-ratelimit-remaining") == Some("0");
        let reset = self.header("x-ratelimit-reset").filter(|_| used_up).and_then(|at| at.parse().ok());
        let retry_at = if let Some(after) = self.header("retry-after") {
            after_header(after, now).unwrap_or(now + UNNAMED_WAIT)
        } else if let Some(reset) = reset.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
            reset
        } else if by_text || self.status == 429 {
            now + UNNAMED_WAIT
        } else {
            return None;
        };
        Some(retry_at.clamp(now + TimeDelta::seconds(1), now + LONGEST_WAIT))
    }
}

/// The end of a limit, for the end of a sentence.
pub(super) fn limited(until: Moment) -> String {
    format!("the limit ends at {}", until.format("%H:%M:%S UTC"))
}

/// `Retry-After` in seconds, or as the date that a proxy may write (RFC 9110 §10.2.3).
fn after_header(value: &str, now: Moment) -> Option<Moment> {
    if let Ok(seconds) = value.trim().parse::<u32>() {
        return Some(now + TimeDelta::seconds(i64::from(seconds)));
    }
    DateTime::parse_from_rfc2822(value).ok().map(|date| date.to_utc())
}

/// Somebody else's text on one line without control characters, cut to [`QUOTE`] characters.
pub(super) fn quote(text: &str) -> String {
    let mut line = String::new();
    let mut characters = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if characters > 0 {
            line.push(' ');
        }
        for c in word.chars() {
            characters += 1;
            if characters > QUOTE {
                line.push('…');
                return line;
            }
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests;
