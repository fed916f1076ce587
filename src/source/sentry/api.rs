//! Asks Sentry's API for the evidence that a webhook does not carry.
//!
//! Invariant: read only; the token is sent to the configured server and to the region that it names, and to nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use self::address::Part::{self, Fixed, Name};
use self::transport::Transport;
use super::event;
use super::locate::{self, Reference};
use crate::alert::{Alert, Reason};
use crate::clock::Moment;
use crate::evidence::{Event, Issue, Suspect, Trace};
use crate::redact::Redactor;

mod address;
mod error;
mod identity;
mod transport;

pub use error::SentryError;
pub use identity::Identity;

const EVENT_READ: &str = "event:read";
const ORG_READ: &str = "org:read";
const PROJECT_READ: &str = "project:read";

/// Most pages of a list that are read.
const PAGES: usize = 10;

/// A client of one Sentry server. Cheap to clone; clones share what they know about regions.
#[derive(Clone, Debug)]
pub struct Sentry {
    base: Url,
    transport: Transport,
    redactor: Arc<Redactor>,
    /// Where the data of an organisation is kept.
    regions: Arc<Mutex<HashMap<String, Url>>>,
}

impl Sentry {
    /// A client of the server at `base_url`. Without a token every question ends in [`SentryError::NoToken`], unasked.
    ///
    /// # Errors
    /// Where the address or the token has no form that can be used, or TLS cannot be set up.
    pub fn new(base_url: &str, token: Option<SecretString>) -> Result<Self, SentryError> {
        let transport = Transport::new(token.as_ref())?;
        Ok(Self { base: address::base(base_url)?, transport, redactor: Arc::default(), regions: Arc::default() })
    }

    /// The same client with this redactor for what applications reported, in the place of one that knows no secret.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Arc<Redactor>) -> Self {
        self.redactor = redactor;
        self
    }

    /// JSON that an application's data went into, as it may be read: redacted while its values are whole.
    #[must_use]
    pub fn redacted(&self, json: Value) -> Value {
        event::redacted(&self.redactor, json)
    }

    /// The same client with another pause before the second try (500 ms; doubled for the third).
    #[must_use]
    pub fn with_backoff(mut self, backoff: Duration) -> Self {
        self.transport.set_backoff(backoff);
        self
    }

    /// The same client with another limit for the time of one request (30 s).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.transport.set_timeout(timeout);
        self
    }

    /// Whether there is a token.
    #[must_use]
    pub const fn has_token(&self) -> bool {
        self.transport.has_token()
    }

    /// The issue, by its id or its short id.
    ///
    /// # Errors
    /// As [`SentryError`] says.
    pub async fn issue(&self, org: &str, issue: &str) -> Result<Issue, SentryError> {
        Ok(event::issue_from(&self.redacted(self.issue_json(org, issue).await?)))
    }

    /// An event of the issue: `latest`, `recommended`, `oldest` or an id.
    ///
    /// # Errors
    /// As [`SentryError`] says.
    pub async fn event(&self, org: &str, issue: &str, which: &str) -> Result<Event, SentryError> {
        let path = [Fixed("issues"), Name("an issue's id", issue), Fixed("events"), Name("an event's id", which)];
        Ok(event::event_from(&self.redacted(self.of_org(org, &path, &[], EVENT_READ).await?)))
    }

    /// The newest event of the issue in one of these environments; in any, where it has none there.
    ///
    /// # Errors
    /// As [`SentryError`] says.
    pub async fn latest_event(&self, org: &str, issue: &str, environments: &[String]) -> Result<Event, SentryError> {
        let path = [Fixed("issues"), Name("an issue's id", issue), Fixed("events"), Fixed("latest")];
        let query: Vec<_> = environments.iter().map(|name| ("environment", name.as_str())).collect();
        let answer = if_found(self.of_org(org, &path, &query, EVENT_READ).await)?;
        match answer {
            Some(found) => Ok(event::event_from(&self.redacted(found))),
            None => self.event(org, issue, "latest").await,
        }
    }

    /// The trace, looked for on the day before and after `around`, else in the last 14 days.
    ///
    /// # Errors
    /// As [`SentryError`] says; servers without tracing answer with 404.
    pub async fn trace(&self, org: &str, trace_id: &str, around: Option<Moment>) -> Result<Trace, SentryError> {
        let day = |moment: Moment| moment.to_rfc3339_opts(SecondsFormat::Secs, true);
        let around = around.map(|around| [day(around - TimeDelta::days(1)), day(around + TimeDelta::days(1))]);
        let query = match &around {
            Some([start, end]) => vec![("start", start.as_str()), ("end", end.as_str())],
            None => vec![("statsPeriod", "14d")],
        };
        let path = [Fixed("trace"), Name("a trace's id", trace_id)];
        let (trace, more_pages) = self.list_of_org(org, &path, &query, ORG_READ).await?;
        let trace = event::trace_from_api(&self.redacted(trace));
        Ok(Trace { id: trace_id.to_owned(), more_pages, ..trace })
    }

    /// The commits that Sentry suspects of an event, best first. 404 means that it suspects none.
    ///
    /// # Errors
    /// As [`SentryError`] says.
    pub async fn suspects(&self, org: &str, project: &str, event_id: &str) -> Result<Vec<Suspect>, SentryError> {
        let path = [Fixed("events"), Name("an event's id", event_id), Fixed("committers")];
        let committers = if_found(self.of_project(org, project, &path).await)?;
        Ok(committers.as_ref().map(event::suspects_from_committers).unwrap_or_default())
    }

    /// The commit that a release was made from: as Sentry knows it, else as the version says (`shop@1.2.0+<commit>`).
    ///
    /// # Errors
    /// As [`SentryError`] says. An unknown release is no error, and without a token the version alone is looked at.
    pub async fn release_commit(&self, org: &str, version: &str) -> Result<Option<String>, SentryError> {
        let path = [Fixed("releases"), Name("a release", version)];
        let release = match self.of_org(org, &path, &[], PROJECT_READ).await {
            Err(SentryError::NoToken) => None,
            answer => if_found(answer)?,
        };
        Ok(release.as_ref().and_then(event::release_commit).or_else(|| event::commit_in_version(version)))
    }

    /// The project and the id of the issue that people call `short`.
    ///
    /// # Errors
    /// As [`SentryError`] says.
    pub async fn short_id(&self, org: &str, short: &str) -> Result<(String, String), SentryError> {
        let path = [Fixed("shortids"), Name("a short id", short)];
        let found = self.of_org(org, &path, &[], ORG_READ).await?;
        let named = |name| event::short(&found, name);
        let (project, issue) = (named("projectSlug"), named("groupId"));
        project.zip(issue).ok_or_else(|| incomplete(&format!("the lookup of {short}"), "it names no project and issue"))
    }

    /// The alert for an issue that a person asked for.
    ///
    /// # Errors
    /// As [`SentryError`] says; [`SentryError::Reference`] where the reference belongs to another server, names no
    /// organisation and none is configured, or is a file.
    pub async fn alert_for(&self, reference: &Reference) -> Result<Alert, SentryError> {
        let (org, issue, event_id) = match reference {
            Reference::Issue { base, org, issue, event } => {
                self.check_server(base.as_ref())?;
                (named_org(org.as_ref())?, issue.clone(), event.clone())
            }
            Reference::ShortId { org, short_id } => {
                let org = named_org(org.as_ref())?;
                let (_, issue) = self.short_id(org, short_id).await?;
                (org, issue, None)
            }
            Reference::Payload(path) => {
                let message =
                    format!("{} is a file with a webhook's body; it is read, not fetched from Sentry", path.display());
                return Err(SentryError::Reference(message));
            }
        };
        let json = self.issue_json(org, &issue).await?;
        let facts = event::issue_from(&json);
        let project =
            event::project_of(&json).ok_or_else(|| incomplete(&format!("the issue {issue}"), "it names no project"))?;
        Ok(Alert {
            source: "sentry".to_owned(),
            org: org.to_owned(),
            project,
            issue: if facts.id.is_empty() { issue } else { facts.id },
            reason: Reason::Requested,
            short_id: facts.short_id,
            title: facts.title,
            level: facts.level,
            environment: None,
            release: None,
            event_id: event_id.filter(|id| !matches!(id.as_str(), "latest" | "recommended" | "oldest")),
            web_url: facts.web_url,
        })
    }

    /// Whether there is such a project, and the token may read it.
    ///
    /// # Errors
    /// As [`SentryError`] says, except 404.
    pub async fn project_exists(&self, org: &str, project: &str) -> Result<bool, SentryError> {
        Ok(if_found(self.of_project(org, project, &[]).await)?.is_some())
    }

    async fn issue_json(&self, org: &str, issue: &str) -> Result<Value, SentryError> {
        let path = [Fixed("issues"), Name("an issue's id", issue)];
        self.of_org(org, &path, &[("collapse", "stats"), ("collapse", "tags")], EVENT_READ).await
    }

    /// `organizations/{org}/{path}` in the organisation's region.
    async fn of_org(
        &self,
        org: &str,
        path: &[Part<'_>],
        query: &[(&str, &str)],
        scope: &'static str,
    ) -> Result<Value, SentryError> {
        let url = self.org_endpoint(org, path, query).await?;
        Ok(self.transport.get(&url, scope).await?.body)
    }

    /// All pages of `organizations/{org}/{path}`, up to [`PAGES`], and whether there are more.
    async fn list_of_org(
        &self,
        org: &str,
        path: &[Part<'_>],
        query: &[(&str, &str)],
        scope: &'static str,
    ) -> Result<(Value, bool), SentryError> {
        let url = self.org_endpoint(org, path, query).await?;
        self.pages(&url, scope).await
    }

    async fn org_endpoint(&self, org: &str, path: &[Part<'_>], query: &[(&str, &str)]) -> Result<Url, SentryError> {
        let parts: Vec<_> =
            [Fixed("organizations"), Name("an organisation", org)].into_iter().chain(path.iter().copied()).collect();
        // A name that cannot be sent is refused before anything is.
        address::endpoint(&self.base, &parts, query)?;
        address::endpoint(&self.region(org).await?, &parts, query)
    }

    /// `projects/{org}/{project}/{path}` in the organisation's region.
    async fn of_project(&self, org: &str, project: &str, path: &[Part<'_>]) -> Result<Value, SentryError> {
        let parts = [Fixed("projects"), Name("an organisation", org), Name("a project", project)];
        let parts: Vec<_> = parts.into_iter().chain(path.iter().copied()).collect();
        address::endpoint(&self.base, &parts, &[])?;
        let url = address::endpoint(&self.region(org).await?, &parts, &[])?;
        Ok(self.transport.get(&url, PROJECT_READ).await?.body)
    }

    /// A list from its first page to its last, and whether there are pages beyond [`PAGES`]; what is no list is returned as it
    /// is.
    async fn pages(&self, url: &Url, scope: &'static str) -> Result<(Value, bool), SentryError> {
        let first = self.transport.get(url, scope).await?;
        let Value::Array(mut all) = first.body else { return Ok((first.body, false)) };
        let mut next = first.next;
        for _ in 1..PAGES {
            let Some(cursor) = next.take() else { break };
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("cursor", &cursor);
            let page = self.transport.get(&url, scope).await?;
            let Value::Array(more) = page.body else {
                next = None;
                break;
            };
            all.extend(more);
            next = page.next.filter(|next| *next != cursor);
        }
        Ok((Value::Array(all), next.is_some()))
    }

    /// Where the organisation's data is kept: sentry.io keeps it in regions, and asks clients to go there directly.
    async fn region(&self, org: &str) -> Result<Url, SentryError> {
        if let Some(known) = self.regions.lock().unwrap_or_else(PoisonError::into_inner).get(org) {
            return Ok(known.clone());
        }
        let url = address::endpoint(&self.base, &[Fixed("organizations"), Name("an organisation", org)], &[])?;
        let region = match self.transport.get(&url, ORG_READ).await {
            Ok(page) => address::region(&self.base, &page.body).unwrap_or_else(|| self.base.clone()),
            // A token without org:read can still read issues.
            Err(SentryError::Forbidden { .. }) => self.base.clone(),
            // The question itself will say what was not found.
            Err(SentryError::NotFound { .. }) => return Ok(self.base.clone()),
            Err(error) => return Err(error),
        };
        self.regions.lock().unwrap_or_else(PoisonError::into_inner).insert(org.to_owned(), region.clone());
        Ok(region)
    }

    fn check_server(&self, pasted: Option<&Url>) -> Result<(), SentryError> {
        match pasted {
            Some(pasted) if !locate::is_same_server(&self.base, pasted) => Err(SentryError::Reference(format!(
                "the address belongs to {}, but Patchwright is set up for {}; the token is not sent there: set `sentry.url` \
                 (SENTRY_URL) if that is your server",
                pasted.origin().ascii_serialization(),
                self.base.origin().ascii_serialization(),
            ))),
            _ => Ok(()),
        }
    }
}

fn named_org(org: Option<&String>) -> Result<&str, SentryError> {
    org.map(String::as_str).ok_or_else(|| {
        let message = "it is not said which organisation the issue belongs to: set `sentry.org` (SENTRY_ORG), or paste the address of the issue";
        SentryError::Reference(message.to_owned())
    })
}

/// 404 as `None`, for questions to which "nothing" is an answer.
fn if_found<T>(answer: Result<T, SentryError>) -> Result<Option<T>, SentryError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(SentryError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn incomplete(endpoint: &str, why: &str) -> SentryError {
    SentryError::Unreadable { endpoint: endpoint.to_owned(), why: why.to_owned() }
}
