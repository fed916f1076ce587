//! Finds the secrets that this process holds, byte for byte and in the encodings in which they travel.
//!
//! Invariant: a known secret in one of these encodings never passes, wherever in the text it stands.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::marker;

/// Fewest bytes of a secret that is looked for.
pub const SHORTEST_SECRET: usize = 8;

/// An automaton over all known secrets in all their encodings.
#[derive(Clone)]
pub(super) struct KnownSecrets {
    automaton: AhoCorasick,
    secrets: usize,
}

impl KnownSecrets {
    /// `None` where there is nothing to look for.
    pub(super) fn new(secrets: &[&str]) -> Option<Self> {
        let secrets: BTreeSet<&str> = secrets.iter().copied().filter(|s| s.len() >= SHORTEST_SECRET).collect();
        let encodings: BTreeSet<String> = secrets.iter().flat_map(|secret| encodings(secret)).collect();
        // The longest match wins, so that a secret that begins with another one is taken out whole.
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(encodings).ok()?;
        (!secrets.is_empty()).then(|| Self { automaton, secrets: secrets.len() })
    }

    /// How many secrets are looked for.
    pub(super) const fn len(&self) -> usize {
        self.secrets
    }

    /// Whether one of them stands in it.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.automaton.is_match(bytes)
    }

    /// The text with a marker for each secret.
    pub(super) fn replace(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        self.automaton.replace_all_with(text, &mut clean, |_, _, out| {
            out.push_str(&marker("secret"));
            true
        });
        clean
    }
}

/// The secret as it is, and as JSON, URLs, hexadecimal and base64 write it.
fn encodings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let once = json_escaped(secret);
    let mut all = vec![
        secret.to_owned(),
        json_escaped(&once),
        once.replace('/', "\\/"),
        once,
        json_escaped_ascii(secret),
        hex::encode(bytes),
        hex::encode_upper(bytes),
        // RFC 3986, JavaScript's encodeURIComponent, HTML forms.
        percent_encoded(bytes, b"-._~"),
        percent_encoded(bytes, b"-._~!'()*"),
        url::form_urlencoded::byte_serialize(bytes).collect(),
    ];
    all.push(percent_encoded(bytes, b"-._~").to_lowercase());
    for offset in 0..3 {
        all.push(base64_core(bytes, offset, &STANDARD_NO_PAD));
        all.push(base64_core(bytes, offset, &URL_SAFE_NO_PAD));
    }
    all
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text).to_owned()
}

/// As writers escape that keep to ASCII, Python's `json.dumps` and with it Sentry among them.
fn json_escaped_ascii(text: &str) -> String {
    json_escaped(text).encode_utf16().fold(String::new(), |mut out, unit| {
        match char::from_u32(unit.into()).filter(char::is_ascii) {
            Some(ascii) => out.push(ascii),
            // Writing to a `String` cannot fail.
            None => _ = write!(out, "\\u{unit:04x}"),
        }
        out
    })
}

fn percent_encoded(bytes: &[u8], kept: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, &byte| {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The base64 characters that the secret alone decides when it starts `offset` bytes after a group of three.
///
/// A character carries six bits: after one foreign byte the third is the first that has none of its bits, after two
/// the fourth; at the end those that would share bits with what follows are left out.
fn base64_core(bytes: &[u8], offset: usize, engine: &impl base64::Engine) -> String {
    let mut shifted = vec![0; offset];
    shifted.extend_from_slice(bytes);
    let foreign = [0, 2, 3].get(offset).copied().unwrap_or_default();
    let whole = shifted.len() * 8 / 6;
    engine.encode(shifted).chars().take(whole).skip(foreign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_begins_with_another_one_goes_whole() {
        let known = KnownSecrets::new(&["abcdefgh", "abcdefghijkl"]).unwrap();
        assert_eq!(known.replace("<abcdefghijkl> <abcdefghi>"), "<[redacted:secret]> <[redacted:secret]i>");
    }

    #[test]
    fn short_secrets_are_not_looked_for() {
        assert!(KnownSecrets::new(&["1234567", ""]).is_none());
    }

    #[test]
    fn a_secret_outside_ascii_is_found_as_python_writes_it() {
        let known = KnownSecrets::new(&["pässwörd🐛"]).unwrap();
        assert_eq!(known.replace(r"p\u00e4ssw\u00f6rd\ud83d\udc1b"), "[redacted:secret]");
    }
}
