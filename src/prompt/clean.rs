//! Makes hostile text show what it says: strips what a reader cannot see, and shortens only out loud.
//!
//! Invariant: what leaves here holds no control, bidirectional, zero-width or tag character but `\n` and `\t`, and
//! every cut falls on a character and says how much is gone.

use crate::redact::is_hidden;

/// The text without anything that a reader would not see; line ends become `\n`.
///
/// Covers the "Trojan Source" bidirectional controls (CVE-2021-42574), zero-width and filler characters, and the tag
/// and variation-selector blocks in which whole messages can be hidden from a person but not from a model.
#[must_use]
pub fn visible(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .filter_map(|c| match c {
            '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
            '\n' | '\t' => Some(c),
            _ if c.is_control() || is_hidden(c) => None,
            _ => Some(c),
        })
        .collect()
}

/// The text, or its first `max` characters and a note of how many more there were; at least, where it ends in the mark of an
/// earlier cut.
#[must_use]
pub fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((at, _)) => {
            let (kept, gone) = text.split_at(at);
            let least = if gone.ends_with('…') { "at least " } else { "" };
            format!("{}… ({least}{} more characters)", kept.trim_end(), gone.chars().count())
        }
    }
}

/// The end of the text: at most its last `max` characters, with a note of how many came before.
#[must_use]
pub fn shorten_to_end(text: &str, max: usize) -> String {
    let skip = text.chars().count().saturating_sub(max);
    match text.char_indices().nth(skip) {
        Some((at, _)) if skip > 0 => {
            format!("({skip} characters before this)\n{}", text.get(at..).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

/// The text as one visible line of at most `max` characters.
#[must_use]
pub fn one_line(text: &str, max: usize) -> String {
    let line = visible(text).split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(&line, max)
}

/// The text if it has the shape of a tracker's short id, such as `WEB-1F`, and so can stand in our own sentences.
#[must_use]
pub fn short_id(text: &str) -> Option<&str> {
    let (project, number) = text.rsplit_once('-')?;
    let sound = (1..=64).contains(&project.len())
        && project.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        && (1..=12).contains(&number.len())
        && number.chars().all(|c| c.is_ascii_alphanumeric());
    sound.then_some(text)
}

/// A tracker's number of an issue as people write it, `#4815`, if it is a number.
#[must_use]
pub fn number(issue: &str) -> Option<String> {
    let sound = (1..=20).contains(&issue.len()) && issue.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| format!("#{issue}"))
}

/// A commit id if it is one, else words that say so; its first twelve digits are enough for people.
#[must_use]
pub fn commit(id: &str) -> &str {
    let sound = (7..=64).contains(&id.len()) && id.chars().all(|c| c.is_ascii_hexdigit());
    if sound { id.get(..12).unwrap_or(id) } else { "unknown" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_stripped_and_what_can_be_seen_is_kept() {
        assert_eq!(visible("a\u{202e}b\u{200b}c\u{e0041}d\u{1b}[31me\u{fe01}\0"), "abcd[31me");
        assert_eq!(visible("naïve ⛔ 漢字\tx\r\ny\rz\u{2028}w"), "naïve ⛔ 漢字\tx\ny\nz\nw");
    }

    #[test]
    fn a_cut_falls_on_a_character_and_says_what_is_gone() {
        assert_eq!(shorten("ééééé", 3), "ééé… (2 more characters)");
        assert_eq!(shorten("ééé", 3), "ééé");
        assert_eq!(shorten("éééé…", 3), "ééé… (at least 2 more characters)");
        assert_eq!(shorten_to_end("ééxyz", 3), "(2 characters before this)\nxyz");
        assert_eq!(shorten_to_end("xyz", 3), "xyz");
    }

    #[test]
    fn only_the_shape_of_a_short_id_may_stand_in_our_sentences() {
        assert_eq!(short_id("WEB-STORE-1F"), Some("WEB-STORE-1F"));
        for text in ["WEB", "WEB-", "-1", "WEB 1-F", "WEB-1F\n@all", "W<b>-1", "W#-1"] {
            assert_eq!(short_id(text), None, "{text}");
        }
    }
}
