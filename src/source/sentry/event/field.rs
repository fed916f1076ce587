//! Reads a field of Sentry's JSON under any of its spellings: webhooks write `abs_path`, the API writes `absPath`.
//!
//! Invariant: a field of an unexpected type is an absent field; nothing here can fail.

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

use super::text;

/// Longest short text, such as an id or the name of a function, in bytes.
const SHORT: usize = 512;

/// The first of these fields that is there and not null.
pub(super) fn any<'a>(object: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().filter_map(|name| object.get(name)).find(|value| !value.is_null())
}

/// A short text or a number, as one line; `None` where it is empty.
pub(super) fn short(object: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| scalar(object.get(name)?, SHORT))
}

/// A short text or number that is not a field, as one line of at most `cap` bytes; `None` where it is empty.
pub(super) fn scalar(value: &Value, cap: usize) -> Option<String> {
    let text = match value {
        Value::String(text) => text::line(text, cap),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A text of several lines, at most `cap` bytes long; `None` where it is empty.
pub(super) fn long(object: &Value, names: &[&str], cap: usize) -> Option<String> {
    names.iter().find_map(|name| {
        let text = text::block(object.get(name)?.as_str()?, cap);
        (!text.trim().is_empty()).then_some(text)
    })
}

/// A whole number; Sentry writes some counts as strings.
pub(super) fn count(object: &Value, names: &[&str]) -> Option<u64> {
    let value = any(object, names)?;
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A line or column number.
pub(super) fn position(object: &Value, names: &[&str]) -> Option<u32> {
    count(object, names).and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

/// A truth value.
pub(super) fn truth(object: &Value, names: &[&str]) -> Option<bool> {
    any(object, names)?.as_bool()
}

/// The elements of a list, or of the `values` of an object, which is Sentry's other way to write a list.
pub(in crate::source::sentry) fn list(value: Option<&Value>) -> &[Value] {
    let list = value.and_then(|value| value.as_array().or_else(|| value.get("values")?.as_array()));
    list.map_or(&[], Vec::as_slice)
}

/// A moment: text as the tracker writes it; seconds since 1970 as RFC 3339, because nobody can read them.
pub(super) fn moment(object: &Value, names: &[&str]) -> Option<String> {
    let value = any(object, names)?;
    let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e12);
    #[expect(clippy::cast_possible_truncation, reason = "bounded above, and a fraction of a millisecond is no loss")]
    let moment = seconds.and_then(|seconds| DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64));
    moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true)).or_else(|| scalar(value, SHORT))
}

/// An address for a browser; anything but http and https is dropped.
pub(super) fn web_address(object: &Value, names: &[&str]) -> Option<String> {
    short(object, names).filter(|text| text.starts_with("https://") || text.starts_with("http://"))
}

/// Any JSON as one line: a text as it is, other values compactly, at most `cap` bytes; `None` where there is nothing in it.
pub(super) fn printed(value: &Value, cap: usize) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text::line(text, cap),
        Value::Array(list) if list.is_empty() => return None,
        Value::Object(fields) if fields.is_empty() => return None,
        other => text::line(&other.to_string(), cap),
    };
    (!text.is_empty()).then_some(text)
}

/// Name and value of each pair of a list of pairs, a list of `{key, value}` objects, or an object.
pub(super) fn pairs(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (text::line(name, SHORT), value)).collect(),
        Value::Array(entries) => entries.iter().filter_map(pair).collect(),
        _ => Vec::new(),
    }
}

/// `["name", value]` in webhooks, `{"key": "name", "value": value}` in the API.
fn pair(entry: &Value) -> Option<(String, &Value)> {
    let (name, value) = match entry {
        Value::Array(pair) => (pair.first()?, pair.get(1)?),
        other => (other.get("key")?, other.get("value")?),
    };
    Some((scalar(name, SHORT)?, value))
}
