//! Turns what Sentry says about an issue, an event, a trace or a commit into our own plain data.
//!
//! Invariant: any JSON at all gives a value, never a panic; every text in it is free of hidden characters and capped.
//!
//! Sentry has two spellings of an event. A webhook sends it as the SDK did, in snake case with sections as fields; the API
//! sends camel case with the sections as a list of `entries`. One normaliser reads both, because self-hosted versions
//! differ in which field they spell how.

use serde_json::Value;

use crate::evidence::Event;

mod circumstances;
mod field;
mod issue;
mod message;
mod omitted;
mod raw;
mod stack;
mod suspects;
pub(crate) mod text;
mod trace;

pub use issue::{commit_in_version, issue_from};
pub use raw::redacted;
pub use suspects::suspects_from_committers;
pub use trace::trace_from_api;

pub(super) use field::list;
pub(super) use issue::{project_of, release_commit};

/// A short text or a number of an answer, as one line.
pub(super) fn short(object: &Value, name: &str) -> Option<String> {
    field::short(object, &[name])
}

/// The named sections of an event, such as `exception` or `request`, wherever they are.
#[derive(Clone, Copy)]
struct Sections<'a>(&'a Value);

impl<'a> Sections<'a> {
    const fn of(event: &'a Value) -> Self {
        Self(event)
    }

    fn get(self, name: &str) -> Option<&'a Value> {
        let entries = field::list(self.0.get("entries"));
        let entry = entries.iter().find(|entry| entry.get("type").and_then(Value::as_str) == Some(name));
        entry.and_then(|entry| entry.get("data")).or_else(|| self.0.get(name)).filter(|section| !section.is_null())
    }
}

/// The event that a webhook carries in `data.event` or `data.error`, or that the API gives; redacted before, since it is
/// cut here.
#[must_use]
pub fn event_from(event: &Value) -> Event {
    let sections = Sections::of(event);
    let tags = circumstances::tags(event);
    let tag = |name| tags.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let title = message::title(event);
    let mut read = Event {
        id: field::short(event, &["eventID", "event_id", "id"]).unwrap_or_default(),
        message: message::message(event, sections, &title),
        at: field::moment(event, &["dateCreated", "datetime", "timestamp", "dateReceived", "received"]),
        platform: field::short(event, &["platform"]),
        level: field::short(event, &["level"]).or_else(|| tag("level")),
        environment: field::short(event, &["environment"]).or_else(|| tag("environment")),
        release: issue::release(event.get("release")).or_else(|| tag("release")),
        culprit: field::short(event, &["culprit"]),
        trace_id: trace_id(event),
        exceptions: stack::exceptions(sections, &title),
        breadcrumbs: circumstances::breadcrumbs(sections),
        request: circumstances::request(sections),
        processing_errors: circumstances::processing_errors(event),
        more: circumstances::more(event),
        omitted: Vec::new(),
        raw: raw::kept(event),
        tags,
        title,
    };
    read.omitted = omitted::omitted(event, sections, &read);
    read
}

/// `contexts.trace.trace_id`, only where it has the form of one: it becomes part of an address.
fn trace_id(event: &Value) -> Option<String> {
    let id = event.pointer("/contexts/trace/trace_id")?.as_str()?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn webhook_event() -> Value {
        json!({
            "event_id": "0f".repeat(16), "title": "KeyError: 'price'", "level": "error", "platform": "python",
            "datetime": "2026-03-01T10:00:00Z", "environment": "production", "release": "shop@1.2.0",
            "contexts": { "trace": { "trace_id": "AB".repeat(16) } },
            "tags": [["level", "error"], ["region", "eu"]],
            "exception": { "values": [{ "type": "KeyError", "value": "'price'",
                "stacktrace": { "frames": [{ "filename": "shop/cart.py", "abs_path": "/srv/shop/cart.py", "lineno": 7,
                    "colno": 3, "function": "total", "in_app": true, "vars": { "cart": "[]" } }] } }] },
            "breadcrumbs": { "values": [{ "timestamp": 1_772_359_199.5, "category": "query", "message": "SELECT 1" }] },
            "request": { "method": "POST", "url": "https://shop.example/cart", "query_string": [["a", "1"]],
                "headers": [["Cookie", "sid=1"], ["Accept", "*/*"]] },
        })
    }

    fn api_event() -> Value {
        json!({
            "eventID": "0f".repeat(16), "title": "KeyError: 'price'", "platform": "python",
            "dateCreated": "2026-03-01T10:00:00Z", "release": { "version": "shop@1.2.0" },
            "contexts": { "trace": { "trace_id": "ab".repeat(16) } },
            "tags": [{ "key": "level", "value": "error" }, { "key": "region", "value": "eu" },
                { "key": "environment", "value": "production" }],
            "errors": [{ "type": "js_no_source", "message": "Source code was not found", "data": { "url": "/index.js" } }],
            "entries": [
                { "type": "exception", "data": { "values": [{ "type": "KeyError", "value": "'price'",
                    "stacktrace": { "frames": [{ "filename": "shop/cart.py", "absPath": "/srv/shop/cart.py", "lineNo": 7,
                        "colNo": 3, "function": "total", "inApp": true, "vars": { "cart": "[]" } }] } }] } },
                { "type": "breadcrumbs", "data": { "values": [
                    { "timestamp": "2026-03-01T09:59:59.500Z", "category": "query", "message": "SELECT 1" }] } },
                { "type": "request", "data": { "method": "POST", "url": "https://shop.example/cart", "query": [["a", "1"]],
                    "headers": [["Cookie", "sid=1"], ["Accept", "*/*"]] } },
            ],
        })
    }

    #[test]
    fn both_spellings_of_an_event_give_the_same_evidence() {
        let (mut webhook, mut api) = (event_from(&webhook_event()), event_from(&api_event()));
        assert_eq!(api.processing_errors, ["js_no_source: Source code was not found (/index.js)"]);
        api.processing_errors.clear();
        (webhook.raw, api.raw) = (String::new(), String::new());
        api.tags.retain(|(name, _)| name != "environment");
        assert_eq!(webhook, api);
        assert_eq!(webhook.trace_id.take(), Some("ab".repeat(16)));
        assert_eq!(webhook.exceptions[0].frames[0].line, Some(7));
    }

    #[test]
    fn a_trace_id_that_is_none_is_left_out() {
        let event = json!({ "contexts": { "trace": { "trace_id": "../../organizations/other/members" } } });
        assert_eq!(event_from(&event).trace_id, None);
    }

    /// Any JSON of the names that the normaliser looks for, nested at random.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            Just(json!("exception")),
        ];
        let name = prop::sample::select(vec![
            "entries",
            "type",
            "data",
            "values",
            "exception",
            "value",
            "stacktrace",
            "frames",
            "lineno",
            "lineNo",
            "context",
            "pre_context",
            "context_line",
            "vars",
            "in_app",
            "tags",
            "key",
            "release",
            "version",
            "contexts",
            "trace",
            "breadcrumbs",
            "timestamp",
            "request",
            "headers",
            "url",
            "query",
            "errors",
            "occurrence",
            "evidenceDisplay",
            "csp",
            "threads",
            "children",
            "start_timestamp",
            "end_timestamp",
            "duration",
            "extra",
            "span_id",
            "committers",
            "commits",
            "id",
            "message",
            "author",
            "title",
            "project",
            "count",
            "metadata",
            "lastCommit",
        ]);
        leaf.prop_recursive(8, 96, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| {
                    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                }),
            ]
        })
    }

    /// What is stored must read back as it was: no infinite number, no lost field.
    fn survives<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> bool {
        serde_json::to_value(value).and_then(serde_json::from_value::<T>).is_ok()
    }

    proptest! {
        #[test]
        fn any_json_gives_evidence_that_can_be_stored(json in any_json()) {
            prop_assert!(survives(&event_from(&json)));
            prop_assert!(survives(&issue_from(&json)));
            prop_assert!(survives(&trace_from_api(&json)));
            prop_assert!(survives(&suspects_from_committers(&json)));
            let _ = (project_of(&json), release_commit(&json));
        }
    }
}
