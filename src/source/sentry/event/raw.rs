//! The JSON of an event before anything is made of it: redacted, and as a text to keep.
//!
//! Invariant: redaction sees whole values under their own names. It comes before a value is printed or cut: half a token has
//! no shape, and a printed object has no names.

use serde_json::Value;

use super::circumstances::is_withheld;
use super::text;
use crate::redact::{Redactor, hide_private_keys};

/// Longest text that is kept, in bytes. Sentry takes events of up to 1 MiB.
const KEPT: usize = 1 << 20;

/// JSON of Sentry's without secrets and personal data.
#[must_use]
pub fn redacted(redactor: &Redactor, mut json: Value) -> Value {
    hide_keys(&mut json);
    redactor.personal_json(json).into_inner()
}

/// An event as a text, less what says who its user is; what does not fit is cut, which its last line says.
pub(super) fn kept(event: &Value) -> String {
    let mut event = event.clone();
    if let Some(fields) = event.as_object_mut() {
        fields.retain(|name, _| name != "user");
    }
    let lists = event.as_object_mut().into_iter().flatten().map(|(_, section)| section);
    for section in lists {
        without_people(section);
    }
    let whole = serde_json::to_string_pretty(&event).unwrap_or_default();
    if whole.len() <= KEPT {
        return text::block(&whole, KEPT);
    }
    let gone = whole.len() - KEPT;
    format!("{}\n… {gone} more bytes were cut here\n", text::block(&whole, KEPT))
}

/// Takes out tags, headers and entries that [`super::circumstances`] leaves out, too.
fn without_people(section: &mut Value) {
    match section {
        Value::Array(items) => {
            items.retain(|item| {
                let name = item.get(0).or_else(|| item.get("key")).or_else(|| item.get("type")).and_then(Value::as_str);
                name.is_none_or(|name| name != "user")
            });
            items.iter_mut().filter_map(|entry| entry.get_mut("data")).for_each(without_people);
        }
        Value::Object(fields) => {
            fields.retain(|name, _| name != "cookies");
            match fields.get_mut("headers") {
                Some(Value::Array(headers)) => {
                    headers.retain(|pair| !pair.get(0).and_then(Value::as_str).is_some_and(is_withheld))
                }
                Some(Value::Object(headers)) => headers.retain(|name, _| !is_withheld(name)),
                _ => {}
            }
        }
        _ => {}
    }
}

/// Hides private keys in source code, which comes line by line.
fn hide_keys(json: &mut Value) {
    match json {
        Value::Array(items) => {
            let mut lines: Vec<&mut String> = items.iter_mut().filter_map(line).collect();
            hide_private_keys(&mut lines);
            items.iter_mut().for_each(hide_keys);
        }
        Value::Object(fields) => {
            let (mut before, mut here, mut after) = (Vec::new(), Vec::new(), Vec::new());
            for (name, value) in fields.iter_mut() {
                let part = match name.as_str() {
                    "pre_context" | "preContext" => &mut before,
                    "context_line" | "contextLine" => &mut here,
                    "post_context" | "postContext" => &mut after,
                    _ => continue,
                };
                match value {
                    Value::Array(lines) => part.extend(lines.iter_mut().filter_map(line)),
                    line => part.extend(self::line(line)),
                }
            }
            before.append(&mut here);
            before.append(&mut after);
            hide_private_keys(&mut before);
            fields.values_mut().for_each(hide_keys);
        }
        _ => {}
    }
}

/// A line of source code: a text, or the text of a pair of number and text.
fn line(value: &mut Value) -> Option<&mut String> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(pair) => match pair.as_mut_slice() {
            [Value::Number(_), Value::String(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_private_key_in_source_lines_goes_whole_in_both_spellings() {
        let (begin, end) =
            (format!("K = \"-----BEGIN {} KEY-----", "PRIVATE"), format!("-----END {} KEY-----\"", "PRIVATE"));
        let body = "MIIEpAIBAAKCAQEAaB3dE5gH";
        let event = json!({ "frames": [
            { "pre_context": ["a = 1", begin, body], "context_line": body, "post_context": [body, end, "b = 2"] },
            { "context": [[1, "a = 1"], [2, begin], [3, body], [4, end], [5, "b = 2"]] },
        ] });
        let clean = redacted(&Redactor::default(), event).to_string();
        assert!(!clean.contains("MIIE") && clean.contains("a = 1") && clean.contains("b = 2"), "{clean}");
    }

    #[test]
    fn what_is_kept_has_no_user_and_says_where_it_was_cut() {
        let event = json!({
            "user": { "name": "Ada" }, "tags": [["user", "Ada"], { "key": "user", "value": "Ada" }, ["os", "Linux"]],
            "entries": [{ "type": "request", "data": { "headers": [["Cookie", "Ada"], ["Accept", "*/*"]], "cookies": [["Ada"]] } }],
            "request": { "headers": { "X-Real-Ip": "Ada" } }, "extra": { "big": "x".repeat(KEPT) },
        });
        let text = kept(&event);
        assert!(
            !text.contains("Ada") && text.contains("*/*") && text.contains("more bytes were cut here"),
            "{}",
            text.len()
        );
    }
}
