//! Takes secrets out of text before it is logged, stored, put into a prompt or published.
//!
//! Invariant: a `Redacted<T>` is made only here; writers of logs, database, prompts and pull requests take nothing else.
//!
//! Three layers, each for what the one before it cannot know: the secrets that this process holds, exactly and in their
//! usual encodings (`known`); tokens by their published shape (`shapes`); values by the name they are given
//! (`assignments` in text, `keys` in JSON). What is found becomes `[redacted:KIND]`, which tells neither the length
//! nor the value. Two personal layers more are for text that outsiders' data went into; see [`Redactor::personal`].

mod assignments;
mod hidden;
mod keys;
mod known;
mod personal;
mod shapes;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use known::KnownSecrets;

pub use hidden::is_hidden;
pub use known::SHORTEST_SECRET;
pub use shapes::hide_private_keys;

/// Nesting below which JSON is not followed but replaced as a whole; the depth at which `serde_json` stops reading, too.
const DEEPEST: usize = 128;

/// Text or data that has been through a [`Redactor`], or that we wrote ourselves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// The clean value.
    pub const fn get(&self) -> &T {
        &self.0
    }

    /// The clean value itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Redacted<String> {
    /// Text that is part of this program and therefore clean.
    #[must_use]
    pub fn ours(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The clean text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Redacted<String> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Knows what a secret looks like: the ones that this process holds, exactly; others by their shape or their key.
///
/// `Debug` says how many secrets it holds, never one of them.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Option<KnownSecrets>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("known", &self.known.as_ref().map_or(0, KnownSecrets::len)).finish()
    }
}

impl Redactor {
    /// A redactor that knows these secrets exactly, in addition to the shapes it always knows.
    ///
    /// Secrets shorter than [`SHORTEST_SECRET`] bytes are passed over: taking them out would take ordinary words apart
    /// and show by that what they are.
    #[must_use]
    pub fn new(secrets: &[&str]) -> Self {
        Self { known: KnownSecrets::new(secrets) }
    }

    /// Whether a secret that this process holds stands in the bytes, in any encoding that it knows.
    #[must_use]
    pub fn knows_one_in(&self, bytes: &[u8]) -> bool {
        self.known.as_ref().is_some_and(|known| known.is_in(bytes))
    }

    /// Text without secrets. E-mail and IP addresses stay: a diff or a commit's author has to survive this.
    #[must_use]
    pub fn text(&self, text: &str) -> Redacted<String> {
        Redacted(self.clean(text, Scope::Secrets))
    }

    /// Text without secrets, and without e-mail addresses, public IP addresses and payment card numbers.
    ///
    /// For what an application reported (issues, events, traces), never for code, diffs and authors.
    #[must_use]
    pub fn personal(&self, text: &str) -> Redacted<String> {
        Redacted(self.clean(text, Scope::Personal))
    }

    /// JSON without secrets, by key and by value. Keys, order and nesting stay; `null`, booleans and empty text too.
    #[must_use]
    pub fn json(&self, value: Value) -> Redacted<Value> {
        Redacted(self.walk(value, Scope::Secrets, None, DEEPEST))
    }

    /// JSON without secrets and personal data; see [`Redactor::personal`] for what it is meant for.
    #[must_use]
    pub fn personal_json(&self, value: Value) -> Redacted<Value> {
        Redacted(self.walk(value, Scope::Personal, None, DEEPEST))
    }

    /// Any data without secrets, by way of its JSON; see [`Redactor::json`].
    ///
    /// # Errors
    /// Where the data cannot be written as JSON and read back, as with a number under a secret's name.
    pub fn data<T: Serialize + DeserializeOwned>(&self, data: &T) -> Result<Redacted<T>, serde_json::Error> {
        self.through_json(data, Scope::Secrets)
    }

    /// Any data without secrets and personal data; see [`Redactor::personal`] for what it is meant for.
    ///
    /// # Errors
    /// As [`Redactor::data`].
    pub fn personal_data<T: Serialize + DeserializeOwned>(&self, data: &T) -> Result<Redacted<T>, serde_json::Error> {
        self.through_json(data, Scope::Personal)
    }

    fn through_json<T>(&self, data: &T, scope: Scope) -> Result<Redacted<T>, serde_json::Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let clean = self.walk(serde_json::to_value(data)?, scope, None, DEEPEST);
        serde_json::from_value(clean).map(Redacted)
    }

    /// Hidden characters stay, since scripts and emoji need some of them, unless a secret shows without them: whoever
    /// strips them later would put it together.
    fn clean(&self, text: &str, scope: Scope) -> String {
        if text.contains(is_hidden) {
            let visible = text.replace(is_hidden, "");
            let clean = self.clean_visible(&visible, scope);
            if clean != visible {
                return clean;
            }
        }
        self.clean_visible(text, scope)
    }

    fn clean_visible(&self, text: &str, scope: Scope) -> String {
        let text = self.known.as_ref().map_or_else(|| text.to_owned(), |known| known.replace(text));
        let text = shapes::replace(&text);
        let text = match scope {
            Scope::Secrets => text,
            // After the shapes, so that the host stays in `https://user:password@host`; before them too, since a mask may
            // complete one.
            Scope::Personal => shapes::replace(&personal::replace(&text)),
        };
        assignments::replace(&text)
    }

    /// `name` is the nearest name that the value goes by; everything below a secret's name is secret.
    fn walk(&self, value: Value, scope: Scope, name: Option<&str>, depth: usize) -> Value {
        let Some(below) = depth.checked_sub(1) else { return Value::from("[redacted:too-deep]") };
        let secret = name.is_some_and(keys::is_secret);
        match value {
            Value::Null | Value::Bool(_) => value,
            Value::Number(_) if secret => Value::from(marker(keys::KIND)),
            Value::String(text) if secret && !assignments::is_nothing(&text) && !is_truth(&text) => {
                Value::from(marker(keys::KIND))
            }
            Value::Number(_) => value,
            // The id of a thing may pass for a card number, and without it the thing is lost.
            Value::String(text) if name.is_some_and(keys::is_id) && text.bytes().all(|b| b.is_ascii_digit()) => {
                Value::from(self.clean(&text, Scope::Secrets))
            }
            Value::String(text) => Value::from(self.clean(&text, scope)),
            Value::Array(items) => {
                let pair = pair_name(&items).filter(|_| !secret).map(ToOwned::to_owned);
                let named = |at: usize| if at == 1 { pair.as_deref().or(name) } else { name };
                let walk = |(at, item)| self.walk(item, scope, named(at), below);
                Value::Array(items.into_iter().enumerate().map(walk).collect())
            }
            Value::Object(map) => {
                let labelled = label(&map).filter(|_| !secret).map(ToOwned::to_owned);
                let entry = |(key, item): (String, Value)| {
                    let named = match (&labelled, key.as_str()) {
                        _ if secret => name,
                        (Some(label), "value") => Some(label.as_str()),
                        _ => Some(key.as_str()),
                    };
                    let item = self.walk(item, scope, named, below);
                    (self.clean(&key, scope), item)
                };
                Value::Object(map.into_iter().map(entry).collect())
            }
        }
    }
}

/// How much is taken out.
#[derive(Clone, Copy)]
enum Scope {
    Secrets,
    Personal,
}

/// A truth value as Python prints it; that there is a secret may be what the error is about.
fn is_truth(text: &str) -> bool {
    matches!(text, "True" | "False" | "true" | "false")
}

/// What stands in the place of a secret.
fn marker(kind: &str) -> String {
    format!("[redacted:{kind}]")
}

/// Whether this is a marker and nothing else, so that a second pass leaves it alone.
fn is_marker(text: &str) -> bool {
    text.strip_prefix("[redacted:")
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|kind| kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
}

/// The name in `["name", value]`, the form of tags, headers and locals.
fn pair_name(items: &[Value]) -> Option<&str> {
    match items {
        [Value::String(name), _] => Some(name),
        _ => None,
    }
}

/// The name in `{"key": "name", "value": …}`, the form of tags in answers of Sentry's API.
fn label(map: &serde_json::Map<String, Value>) -> Option<&str> {
    map.get("value")?;
    ["key", "name"].iter().find_map(|field| map.get(*field)?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_below_a_secret_name_are_taken_out_and_the_shape_stays() {
        let dirty = json!({
            "author": "Ada <ada@example.com>", "token_count": 3, "enabled": true,
            "credentials": {"user": "ada", "pins": [1234, null]},
            "headers": [["X-Api-Key", "k1"], ["Accept", "text/html"]],
            "tags": [{"key": "session_id", "value": "s1"}, {"key": "os", "value": "Linux"}],
            "password": "", "token": null,
        });
        let expected = json!({
            "author": "Ada <ada@example.com>", "token_count": 3, "enabled": true,
            "credentials": {"user": "[redacted:key]", "pins": ["[redacted:key]", null]},
            "headers": [["X-Api-Key", "[redacted:key]"], ["Accept", "text/html"]],
            "tags": [{"key": "session_id", "value": "[redacted:key]"}, {"key": "os", "value": "Linux"}],
            "password": "", "token": null,
        });
        assert_eq!(*Redactor::default().json(dirty).get(), expected);
    }

    #[test]
    fn personal_data_goes_only_when_asked_for() {
        let event = json!({"id": "4111111111111111", "message": "ada@example.com paid with 4111 1111 1111 1111"});
        assert_eq!(*Redactor::default().json(event.clone()).get(), event);
        let masked = json!({"id": "4111111111111111", "message": "[email] paid with [card]"});
        assert_eq!(*Redactor::default().personal_data(&event).unwrap().get(), masked);
    }

    #[test]
    fn what_is_no_value_stays_under_a_secret_name() {
        let locals =
            json!({ "password": "None", "token": "''", "secret": "null", "auth": "undefined", "session": "False" });
        assert_eq!(*Redactor::default().json(locals.clone()).get(), locals);
    }

    #[test]
    fn a_secret_that_hidden_characters_take_apart_is_found_and_others_keep_theirs() {
        for hidden in ['\u{34f}', '\u{fe0f}', '\u{3164}', '\u{200b}'] {
            let token = format!("ghp_a1{hidden}{}", "b2".repeat(17));
            assert_eq!(Redactor::default().text(&token).as_str(), "[redacted:github-token]");
        }
        let family = "\u{1f469}\u{200d}\u{1f467} is no secret";
        assert_eq!(Redactor::default().text(family).as_str(), family);
    }

    #[test]
    fn endless_nesting_is_cut_off_instead_of_followed() {
        let deep = (0..500).fold(json!("ghp_".to_owned() + &"a1".repeat(18)), |inner, _| json!([inner]));
        let shown = Redactor::default().json(deep).get().to_string();
        assert!(shown.contains("[redacted:too-deep]") && !shown.contains("ghp_"), "{shown}");
    }

    #[test]
    fn debug_output_tells_how_many_secrets_there_are_and_none_of_them() {
        let shown = format!("{:?}", Redactor::new(&["correct horse battery", "short"]));
        assert_eq!(shown, "Redactor { known: 1 }");
    }
}
