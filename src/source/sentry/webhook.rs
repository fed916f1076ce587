//! Reads what a Sentry webhook means: work for a job, or a reason why not.
//!
//! Invariant: every resource and action ends in one named [`Meaning`]; a body that starts a job names organisation, project
//! and issue in forms that are safe in an address; no error repeats a value of the body.

mod origin;
mod payload;
mod wording;

use crate::alert::{Alert, Reason};
use crate::outcome::Ignored;
use payload::{Data, Event, Issue, Payload};

/// Name of the header that says what kind of delivery it is. It is not signed, so the body has to bear it out.
pub const RESOURCE_HEADER: &str = "sentry-hook-resource";

/// The name of this source in alerts, jobs and deliveries.
pub const SOURCE: &str = "sentry";

/// What a delivery means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// It starts or joins a job.
    Work(Box<Alert>),
    /// It is acknowledged, and nothing else happens.
    Close(Ignored),
}

/// Why a body cannot be read. The sender is told; none of these repeats a value of the body.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPayload {
    /// It is not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// It is not JSON.
    #[error("the body is not JSON (line {line}, column {column})")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// It is JSON with something in it that cannot be worked with.
    #[error(
        "the body is JSON, but holds a number out of range, half of a character (`\\ud800` on its own), or more than 127 \
         levels of nesting (line {line}, column {column})"
    )]
    Unreadable {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A field that is needed is not there or has no usable value.
    #[error("`{field}` is missing or unusable")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// Nothing names the organisation.
    #[error("no address in the body names the organisation of project `{project}`: set `[sentry] org`")]
    NoOrganisation {
        /// The project's slug.
        project: String,
    },
    /// The unsigned header and the signed body do not agree.
    #[error("the body is not one of the resource that the {RESOURCE_HEADER} header names")]
    Mismatch,
}

/// Reads a webhook of the kind that its header names.
///
/// `default_org` is for bodies without an address that names the organisation, as older servers send them. With
/// `start_on_error`, every new error event starts or joins its issue's job.
///
/// # Errors
/// Where the JSON is broken, header and body do not agree, or a delivery that starts a job lacks what it needs for that.
pub fn read(
    resource: &str,
    body: &[u8],
    default_org: Option<&str>,
    start_on_error: bool,
) -> Result<Meaning, BadPayload> {
    let payload = Payload::read(body)?;
    let fits = match Resource::named(resource) {
        Some(named) => named.fits(&payload.data),
        None => !Resource::would_start_jobs(&payload.data),
    };
    if !fits {
        return Err(BadPayload::Mismatch);
    }
    meaning(resource, &payload, default_org, start_on_error)
}

/// Reads a payload that a person points at: a whole webhook, or just an issue or an event as Sentry shows them as JSON.
///
/// What names an issue is work, since a person asked for it; the reason is the webhook's own where it has one.
///
/// # Errors
/// As [`read`].
pub fn read_payload(body: &[u8], default_org: Option<&str>) -> Result<Meaning, BadPayload> {
    let payload = Payload::read(body)?;
    let shown = Resource::shown_by(&payload.data);
    if let Some(work @ Meaning::Work(_)) = shown
        .filter(|resource| resource.starts_jobs())
        .map(|resource| meaning(resource.name(), &payload, default_org, true))
        .transpose()?
    {
        return Ok(work);
    }
    let data = &payload.data;
    if let Some(event) = data.event.as_ref().or(data.error.as_ref()).or(payload.bare_event.as_ref()) {
        return from_event(event, Reason::Requested, default_org);
    }
    if let Some(issue) = data.issue.as_ref().or(payload.bare_issue.as_ref()) {
        return from_issue(issue, Reason::Requested, default_org);
    }
    let what = shown.map_or("nothing in it names an issue of Sentry's", Resource::why_not);
    Ok(close(what.to_owned()))
}

/// The resources that Sentry has, by the name in the header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    EventAlert,
    Issue,
    ActivityAlert,
    Error,
    MetricAlert,
    Comment,
    Installation,
    Seer,
    PreprodArtifact,
}

impl Resource {
    const ALL: [Self; 9] = [
        Self::EventAlert,
        Self::Issue,
        Self::ActivityAlert,
        Self::Error,
        Self::MetricAlert,
        Self::Comment,
        Self::Installation,
        Self::Seer,
        Self::PreprodArtifact,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::EventAlert => "event_alert",
            Self::Issue => "issue",
            Self::ActivityAlert => "activity_alert",
            Self::Error => "error",
            Self::MetricAlert => "metric_alert",
            Self::Comment => "comment",
            Self::Installation => "installation",
            Self::Seer => "seer",
            Self::PreprodArtifact => "preprod_artifact",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }

    /// The resource that the signed body shows by the fields that it has.
    const fn shown_by(data: &Data) -> Option<Self> {
        Some(match data {
            Data { event: Some(_), .. } => Self::EventAlert,
            Data { error: Some(_), .. } => Self::Error,
            Data { issue: Some(_), activity: Some(_), .. } => Self::ActivityAlert,
            Data { issue: Some(_), .. } => Self::Issue,
            Data { metric_alert: Some(_), .. } => Self::MetricAlert,
            Data { comment_id: Some(_), .. } => Self::Comment,
            Data { installation: Some(_), .. } => Self::Installation,
            Data { run_id: Some(_), .. } => Self::Seer,
            _ => return None,
        })
    }

    /// Whether the signed body is one that starts jobs.
    fn would_start_jobs(data: &Data) -> bool {
        Self::shown_by(data).is_some_and(Self::starts_jobs)
    }

    /// Whether the signed body bears out the unsigned header: one that starts jobs needs its fields, and the others may
    /// not have them, since a job would be lost.
    fn fits(self, data: &Data) -> bool {
        match self {
            Self::EventAlert => data.event.is_some(),
            Self::Error => data.error.is_some(),
            Self::Issue => data.issue.is_some() && data.activity.is_none(),
            Self::ActivityAlert => data.issue.is_some() && data.activity.is_some(),
            _ => !Self::would_start_jobs(data),
        }
    }

    const fn starts_jobs(self) -> bool {
        matches!(self, Self::EventAlert | Self::Issue | Self::ActivityAlert | Self::Error)
    }

    /// Why the other resources never start a job.
    const fn why_not(self) -> &'static str {
        match self {
            Self::MetricAlert => "a metric crossed a threshold; there is no error with a stack trace to work on",
            Self::Comment => "comments are not read",
            Self::Installation => "the integration was installed or removed",
            Self::Seer => "this is news of Sentry's own agent",
            Self::PreprodArtifact => "this is news of a mobile build",
            Self::EventAlert | Self::Issue | Self::ActivityAlert | Self::Error => "this action names no new trouble",
        }
    }
}

fn meaning(
    resource: &str,
    payload: &Payload,
    default_org: Option<&str>,
    start_on_error: bool,
) -> Result<Meaning, BadPayload> {
    let action = payload.action.as_deref().unwrap_or_default();
    let data = &payload.data;
    let ignored = |why: &str| Ok(close(format!("{}: {why}", wording::kind(resource, action))));
    let (Some(known), false) = (Resource::named(resource), action.is_empty()) else {
        return ignored("this kind of delivery is not known, so nothing was started");
    };
    match (known, action) {
        (Resource::EventAlert, "triggered") => {
            let event = data.event.as_ref().ok_or(BadPayload::Missing { field: "data.event" })?;
            match event.not_code() {
                Some(why) => ignored(why),
                None => from_event(event, Reason::Rule, default_org),
            }
        }
        (Resource::Error, "created") if !start_on_error => {
            ignored("single errors start nothing here; `[sentry] start_on_error` would change that")
        }
        (Resource::Error, "created") => match &data.error {
            Some(event) => from_event(event, Reason::New, default_org),
            None => Err(BadPayload::Missing { field: "data.error" }),
        },
        (Resource::Issue, _) => {
            let issue = data.issue.as_ref().ok_or(BadPayload::Missing { field: "data.issue" })?;
            match (change_of_issue(issue, action), issue.not_code()) {
                (Err(why), _) => ignored(&why),
                (Ok(_), Some(why)) => ignored(why),
                (Ok(reason), None) => from_issue(issue, reason, default_org),
            }
        }
        (Resource::ActivityAlert, "triggered") => {
            let issue = data.issue.as_ref().ok_or(BadPayload::Missing { field: "data.issue" })?;
            let kind = data.activity.as_ref().and_then(|activity| activity.kind.as_deref()).unwrap_or_default();
            match (kind, issue.not_code()) {
                ("status_regression" | "status_escalating", Some(why)) => ignored(why),
                ("status_regression", None) => from_issue(issue, Reason::Regressed, default_org),
                ("status_escalating", None) => from_issue(issue, Reason::Escalating, default_org),
                (other, _) => {
                    ignored(&format!("activity `{}` is neither a regression nor an escalation", wording::word(other)))
                }
            }
        }
        (known, _) => ignored(known.why_not()),
    }
}

/// What happened to the issue: a reason to work on it, or the sentence why not.
fn change_of_issue(issue: &Issue, action: &str) -> Result<Reason, String> {
    let why = match (action, issue.substatus.as_deref()) {
        ("created", _) => return Ok(Reason::New),
        ("unresolved", Some("regressed")) => return Ok(Reason::Regressed),
        ("unresolved", Some("escalating")) => return Ok(Reason::Escalating),
        ("unresolved", substatus) => {
            let substatus = wording::word(substatus.unwrap_or("unknown"));
            return Err(format!(
                "reopened with substatus `{substatus}`, which is neither a regression nor an escalation"
            ));
        }
        ("resolved", _) => "the issue was resolved, so there is nothing to fix",
        ("assigned", _) => "the issue was assigned to somebody",
        // The wire says `ignored`; old subscriptions may say `archived`, as the user interface does.
        ("ignored" | "archived", _) => "the issue was archived by somebody",
        _ => "this action is not known, so nothing was started",
    };
    Err(why.to_owned())
}

fn from_event(event: &Event, reason: Reason, default_org: Option<&str>) -> Result<Meaning, BadPayload> {
    let origin = origin::find(event.addresses(), default_org);
    let issue = event.issue_id().ok_or(BadPayload::Missing { field: "event.issue_id" })?;
    let project =
        origin.project.or_else(|| origin::slug(event.project_slug.as_deref().or(event.project_slug_camel.as_deref())?));
    let project = project.ok_or(BadPayload::Missing { field: "event.url" })?;
    Ok(Meaning::Work(Box::new(Alert {
        source: SOURCE.to_owned(),
        org: origin.org.ok_or_else(|| BadPayload::NoOrganisation { project: project.clone() })?,
        project,
        reason,
        short_id: None,
        title: wording::title(event.title.as_deref(), &issue),
        issue,
        level: wording::optional(event.level.as_deref().or_else(|| event.tag("level"))),
        environment: wording::optional(event.environment.as_deref().or_else(|| event.tag("environment"))),
        release: wording::optional(event.release.as_deref().or_else(|| event.tag("release"))),
        event_id: event.event_id(),
        web_url: wording::address(event.web_url.as_deref().or(event.web_url_camel.as_deref())),
    })))
}

fn from_issue(issue: &Issue, reason: Reason, default_org: Option<&str>) -> Result<Meaning, BadPayload> {
    let origin = origin::find(issue.addresses(), default_org);
    let id = issue.id().ok_or(BadPayload::Missing { field: "issue.id" })?;
    let project = issue.project.as_ref().and_then(|project| origin::slug(project.slug.as_deref()?));
    let project = project.ok_or(BadPayload::Missing { field: "issue.project.slug" })?;
    let web_url = issue.web_url.as_deref().or(issue.web_url_camel.as_deref()).or(issue.permalink.as_deref());
    Ok(Meaning::Work(Box::new(Alert {
        source: SOURCE.to_owned(),
        org: origin.org.ok_or_else(|| BadPayload::NoOrganisation { project: project.clone() })?,
        project,
        reason,
        short_id: issue.short_id.as_deref().and_then(origin::slug),
        title: wording::title(issue.title.as_deref(), &id),
        issue: id,
        level: wording::optional(issue.level.as_deref()),
        environment: None,
        release: None,
        event_id: None,
        web_url: wording::address(web_url),
    })))
}

fn close(what: String) -> Meaning {
    Meaning::Close(Ignored::NotActionable { what })
}
