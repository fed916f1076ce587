//! Makes text that an outsider wrote harmless to show: no hidden characters, and never longer than a cap.
//!
//! Invariant: what comes out is at most `cap` bytes, cut between characters, and reads the same to a person, a terminal
//! and a model.

use crate::redact::is_hidden;

/// Marks a text that was cut.
const CUT: char = '…';

/// Text of several lines, at most `cap` bytes long.
pub(crate) fn block(text: &str, cap: usize) -> String {
    clean(text, cap, |c| (c == '\n' || c == '\t').then_some(c))
}

/// Text of one line, at most `cap` bytes long; line breaks and tabs become spaces.
pub(crate) fn line(text: &str, cap: usize) -> String {
    let line = clean(text, cap, |c| matches!(c, '\n' | '\t').then_some(' '));
    line.trim().to_owned()
}

/// Copies visible characters until the cap; `control` decides what becomes of a control character.
fn clean(text: &str, cap: usize, control: impl Fn(char) -> Option<char>) -> String {
    let mut clean = String::with_capacity(text.len().min(cap));
    let mut room_for_mark = 0;
    for c in text.chars().filter_map(|c| if c.is_control() { control(c) } else { (!is_hidden(c)).then_some(c) }) {
        if clean.len() + c.len_utf8() > cap {
            clean.truncate(room_for_mark);
            if room_for_mark + CUT.len_utf8() <= cap {
                clean.push(CUT);
            }
            return clean;
        }
        clean.push(c);
        if clean.len() + CUT.len_utf8() <= cap {
            room_for_mark = clean.len();
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hidden_and_control_characters_are_removed() {
        assert_eq!(block("a\u{202e}b\u{200b}c\u{1b}[31m\u{7}\r\nd\u{e0041}", 100), "abc[31m\nd");
    }

    #[test]
    fn a_line_has_no_line_breaks() {
        assert_eq!(line(" one\ntwo\tthree\n", 100), "one two three");
    }

    #[test]
    fn a_cut_is_marked_and_falls_between_characters() {
        assert_eq!(block("aéééé", 6), "aé…");
        assert_eq!(block("aéé", 5), "aéé");
        assert_eq!(block("éé", 2), "");
    }

    proptest! {
        #[test]
        fn any_text_is_capped_and_cleaned_once_and_for_all(text in "\\PC*|.*", cap in 0_usize..64) {
            let clean = block(&text, cap);
            prop_assert!(clean.len() <= cap);
            prop_assert_eq!(block(&clean, cap), clean);
        }
    }
}
