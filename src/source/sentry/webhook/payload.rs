//! The few fields of Sentry's payloads that are read, in every spelling that Sentry has used for them.
//!
//! Invariant: a field of an unexpected type is as good as not there; only JSON that is broken, or that cannot be read as
//! evidence later, is an error.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::BadPayload;
use crate::source::sentry::category;

/// A webhook, or an issue or event on its own.
#[derive(Default)]
pub(super) struct Payload {
    pub(super) action: Option<String>,
    pub(super) data: Data,
    /// The whole body read as an event, where it is one.
    pub(super) bare_event: Option<Event>,
    /// The whole body read as an issue, where it is one.
    pub(super) bare_issue: Option<Issue>,
}

/// The envelope of every webhook.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "text")]
    action: Option<String>,
    #[serde(default, deserialize_with = "object")]
    data: Option<Data>,
}

/// `data` of a webhook. Which of the fields are there tells the resource.
#[derive(Default, Deserialize)]
pub(super) struct Data {
    #[serde(default, deserialize_with = "object")]
    pub(super) event: Option<Event>,
    #[serde(default, deserialize_with = "object")]
    pub(super) error: Option<Event>,
    #[serde(default, deserialize_with = "object")]
    pub(super) issue: Option<Issue>,
    #[serde(default, deserialize_with = "object")]
    pub(super) activity: Option<Activity>,
    #[serde(default)]
    pub(super) metric_alert: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) comment_id: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) installation: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) run_id: Option<IgnoredAny>,
}

/// An event, as webhooks have it (`issue_id`) and as the API has it (`groupID`).
#[derive(Default, Deserialize)]
pub(super) struct Event {
    #[serde(default, deserialize_with = "text")]
    issue_id: Option<String>,
    #[serde(default, rename = "groupID", deserialize_with = "text")]
    group_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    event_id: Option<String>,
    #[serde(default, rename = "eventID", deserialize_with = "text")]
    event_id_of_api: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) project_slug: Option<String>,
    #[serde(default, rename = "projectSlug", deserialize_with = "text")]
    pub(super) project_slug_camel: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) level: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) environment: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) release: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    tags: Option<Vec<Tag>>,
    #[serde(default, deserialize_with = "object")]
    occurrence: Option<Occurrence>,
    #[serde(default, deserialize_with = "text")]
    url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    issue_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) web_url: Option<String>,
    #[serde(default, rename = "webUrl", deserialize_with = "text")]
    pub(super) web_url_camel: Option<String>,
}

/// An issue.
#[derive(Default, Deserialize)]
pub(super) struct Issue {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, rename = "shortId", deserialize_with = "text")]
    pub(super) short_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) level: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) substatus: Option<String>,
    #[serde(default, rename = "issueCategory", deserialize_with = "text")]
    category: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub(super) project: Option<Project>,
    #[serde(default, deserialize_with = "text")]
    url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) web_url: Option<String>,
    #[serde(default, rename = "webUrl", deserialize_with = "text")]
    pub(super) web_url_camel: Option<String>,
    #[serde(default, deserialize_with = "text")]
    project_url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) permalink: Option<String>,
}

/// The project of an issue.
#[derive(Default, Deserialize)]
pub(super) struct Project {
    #[serde(default, deserialize_with = "text")]
    pub(super) slug: Option<String>,
}

/// What an event says of itself that belongs to an issue which is no error.
#[derive(Default, Deserialize)]
struct Occurrence {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<u64>,
}

/// What an activity alert is about.
#[derive(Default, Deserialize)]
pub(super) struct Activity {
    #[serde(default, rename = "type", deserialize_with = "text")]
    pub(super) kind: Option<String>,
}

/// A tag, as webhooks write it and as the API does.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tag {
    Pair(Scalar, Scalar),
    Labelled { key: Scalar, value: Scalar },
    Other(IgnoredAny),
}

impl Payload {
    /// Reads a body. All of it is read as the evidence will be: what is skipped below would let numbers, characters and
    /// nesting pass that the job could not read later.
    pub(super) fn read(body: &[u8]) -> Result<Self, BadPayload> {
        let text = std::str::from_utf8(body).map_err(|_| BadPayload::NotUtf8)?;
        serde_json::from_str::<Value>(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => BadPayload::Unreadable { line, column },
                Err(_) => BadPayload::NotJson { line, column },
            }
        })?;
        // Only an object: a list, too, would pass for a struct. What does not fit shows no resource, and the reader says so.
        if !text.trim_start().starts_with('{') {
            return Ok(Self::default());
        }
        Ok(match serde_json::from_str::<Envelope>(text) {
            Ok(Envelope { action, data: Some(data) }) => Self { action, data, ..Self::default() },
            Ok(Envelope { action, data: None }) => Self { action, ..Self::bare(text) },
            Err(_) => Self::default(),
        })
    }

    fn bare(text: &str) -> Self {
        let event = serde_json::from_str::<Event>(text).ok().filter(|event| event.issue_id().is_some());
        let issue = serde_json::from_str::<Issue>(text).ok();
        let issue = issue.filter(|issue| event.is_none() && issue.id().is_some() && issue.project.is_some());
        Self { bare_event: event, bare_issue: issue, ..Self::default() }
    }
}

impl Event {
    /// The issue's id: digits only, since it becomes part of addresses.
    pub(super) fn issue_id(&self) -> Option<String> {
        number(self.issue_id.as_deref().or(self.group_id.as_deref())?)
    }

    /// The event's id, where it is one: hexadecimal, with or without dashes.
    pub(super) fn event_id(&self) -> Option<String> {
        let id = self.event_id.as_deref().or(self.event_id_of_api.as_deref())?;
        let sound = (1..=36).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        sound.then(|| id.to_owned())
    }

    /// Why the event is not one that a change of code can end; `None` for errors and slow code.
    pub(super) fn not_code(&self) -> Option<&'static str> {
        category::not_code(category::of_occurrence(self.occurrence.as_ref()?.kind?))
    }

    /// Addresses that may name organisation and project, the most telling first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        [&self.url, &self.issue_url, &self.web_url, &self.web_url_camel].into_iter().flatten().map(String::as_str)
    }

    /// The value of a tag.
    pub(super) fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().flatten().find_map(|tag| match tag {
            Tag::Pair(key, value) | Tag::Labelled { key, value } if key.as_str() == Some(name) => value.as_str(),
            _ => None,
        })
    }
}

impl Issue {
    /// The issue's id: digits only, since it becomes part of addresses.
    pub(super) fn id(&self) -> Option<String> {
        number(self.id.as_deref()?)
    }

    /// Addresses that may name the organisation, the most telling first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        [&self.url, &self.web_url, &self.web_url_camel, &self.project_url, &self.permalink]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Why the issue is not one that a change of code can end; `None` for errors and slow code.
    pub(super) fn not_code(&self) -> Option<&'static str> {
        category::not_code(self.category.as_deref().or(self.kind.as_deref())?)
    }
}

fn number(text: &str) -> Option<String> {
    ((1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.to_owned())
}

/// Text, or a whole number as text; ids have been both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(u64),
    Other(IgnoredAny),
}

impl Scalar {
    fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other(_) => None,
        }
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => Some(text),
        Scalar::Number(number) => Some(number.to_string()),
        Scalar::Other(_) => None,
    })
}

/// A value of the expected shape, or nothing.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Expected(T),
        Other(IgnoredAny),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Expected(value) => Some(value),
        Either::Other(_) => None,
    })
}

/// An object of the expected shape, or nothing. A list, too, would pass for a struct.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        List(#[serde(deserialize_with = "list")] ()),
        Expected(T),
        Other(IgnoredAny),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Expected(value) => Some(value),
        Either::List(()) | Either::Other(_) => None,
    })
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    Vec::<IgnoredAny>::deserialize(deserializer).map(drop)
}
