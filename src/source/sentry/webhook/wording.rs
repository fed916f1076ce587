//! Makes foreign text fit to be kept and shown in one line.
//!
//! Invariant: what comes out has no control or invisible direction-changing character and is cut on a character's
//! boundary.

use url::Url;

/// Most bytes of a title.
const LONGEST_TITLE: usize = 300;

/// Most bytes of a release, an environment or a level.
const LONGEST_NAME: usize = 250;

/// Most bytes of an address.
const LONGEST_ADDRESS: usize = 2048;

/// Most bytes of a word in one of our sentences.
const LONGEST_WORD: usize = 64;

/// The title, or one made of the issue's id where there is none.
pub(super) fn title(text: Option<&str>, issue: &str) -> String {
    let title = one_line(text.unwrap_or_default(), LONGEST_TITLE);
    if title.is_empty() { format!("issue {issue} without a title") } else { title }
}

/// A name; an empty one counts as none.
pub(super) fn optional(text: Option<&str>) -> Option<String> {
    Some(one_line(text?, LONGEST_NAME)).filter(|name| !name.is_empty())
}

/// An address for a browser: http or https, without a user or password in it.
pub(super) fn address(text: Option<&str>) -> Option<String> {
    let url = Url::parse(text?).ok()?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    (plain && url.as_str().len() <= LONGEST_ADDRESS).then(|| url.into())
}

/// A foreign word inside one of our sentences.
pub(super) fn word(text: &str) -> String {
    one_line(text, LONGEST_WORD).replace('`', "'")
}

/// `resource.action`.
pub(super) fn kind(resource: &str, action: &str) -> String {
    if action.is_empty() { word(resource) } else { format!("{}.{}", word(resource), word(action)) }
}

fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    for c in text.trim().chars() {
        let c = if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c };
        if line.len() + c.len_utf8() > limit {
            break;
        }
        if !c.is_control() && !is_invisible(c) {
            line.push(c);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Zero-width characters and those that change the direction of the text after them (Unicode TR 9 and TR 36).
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_what_cannot_be_seen_and_is_cut_between_characters() {
        assert_eq!(title(Some(" a\u{0}\u{1b}[31m\nb\u{202e}c\u{e0041} "), "7"), "a[31m bc");
        let long = title(Some(&"é".repeat(400)), "7");
        assert_eq!((long.len(), long.chars().count()), (300, 150));
        assert_eq!(title(Some("\u{200b}"), "7"), "issue 7 without a title");
    }

    #[test]
    fn only_plain_web_addresses_are_kept() {
        assert_eq!(
            address(Some("https://acme.sentry.io/issues/7/")).as_deref(),
            Some("https://acme.sentry.io/issues/7/")
        );
        for bad in ["javascript:alert(1)", "https://user:pw@host/", "issues/7", ""] {
            assert_eq!(address(Some(bad)), None, "{bad}");
        }
    }
}
