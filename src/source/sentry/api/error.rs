//! What can go wrong between us and Sentry's API, as decisions for the caller.
//!
//! Invariant: every message says what happened, at which endpoint, and what to do; none carries a token or a query.

use crate::clock::Moment;

/// A request to Sentry that brought no answer to work with.
#[derive(Debug, thiserror::Error)]
pub enum SentryError {
    /// The configured address cannot be used.
    #[error(
        "the configured Sentry address cannot be used: {0}; set `sentry.url` (SENTRY_URL) to one such as https://sentry.io"
    )]
    Address(&'static str),
    /// The configured token cannot be sent.
    #[error(
        "the Sentry API token contains characters that no token has; check what `sentry.token` (SENTRY_AUTH_TOKEN) points to"
    )]
    Token,
    /// The HTTP client cannot be made.
    #[error("cannot prepare TLS for the Sentry API: {0}; check the certificate store of this machine")]
    Tls(String),
    /// There is no token.
    #[error(
        "there is no Sentry API token: create an internal integration with event:read, project:read and org:read and put its \
         token into SENTRY_AUTH_TOKEN (or refer to it in `sentry.token`)"
    )]
    NoToken,
    /// A name that would become part of an address is none that Sentry gives.
    #[error("`{name}` cannot be {what}: nothing was sent to Sentry; check the alert or the command that named it")]
    Name {
        /// What the name should be.
        what: &'static str,
        /// The name, cleaned and cut.
        name: String,
    },
    /// A reference from a person that this client cannot follow.
    #[error("{0}")]
    Reference(String),
    /// 401.
    #[error(
        "Sentry does not accept the API token (401 {detail}) at {endpoint}: it is wrong, expired or revoked; renew SENTRY_AUTH_TOKEN"
    )]
    Unauthorized {
        /// Host and path.
        endpoint: String,
        /// Sentry's own words.
        detail: String,
    },
    /// 403.
    #[error(
        "the Sentry API token may not read {endpoint} (403 {detail}): give it the scope {scope} and access to the project"
    )]
    Forbidden {
        /// Host and path.
        endpoint: String,
        /// Sentry's own words.
        detail: String,
        /// The scope that the endpoint needs.
        scope: &'static str,
    },
    /// 404.
    #[error(
        "Sentry has nothing at {endpoint} (404 {detail}): check organisation and id, and that the token's teams see the project"
    )]
    NotFound {
        /// Host and path.
        endpoint: String,
        /// Sentry's own words.
        detail: String,
    },
    /// 429, for longer than it is sensible to wait.
    #[error("Sentry limits the rate of requests to {endpoint} until {retry_at}; try again then")]
    RateLimited {
        /// Host and path.
        endpoint: String,
        /// When to try again.
        retry_at: Moment,
    },
    /// Another refusal.
    #[error("Sentry refused the request to {endpoint} ({status} {detail}); this server may be too old for it")]
    Refused {
        /// Host and path.
        endpoint: String,
        /// HTTP status.
        status: u16,
        /// Sentry's own words.
        detail: String,
    },
    /// A redirect to another server, which does not get the token.
    #[error(
        "Sentry sent us from {endpoint} on to {to}, which does not get the token; set `sentry.url` to the address that it really has"
    )]
    Redirected {
        /// Host and path.
        endpoint: String,
        /// Scheme, host and port of the other server.
        to: String,
    },
    /// Sentry did not answer, or with an error of its own, as often as we tried.
    #[error(
        "Sentry did not answer at {endpoint} ({tries} tries; last: {why}); check the network and Sentry's status, then try again"
    )]
    Unavailable {
        /// Host and path.
        endpoint: String,
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        why: String,
    },
    /// The answer is not what the API gives.
    #[error(
        "the answer from {endpoint} cannot be used: {why}; check that `sentry.url` is the address of a Sentry server"
    )]
    Unreadable {
        /// Host and path.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
}
