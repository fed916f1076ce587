//! Characters that leave no mark of their own on the screen.
//!
//! Invariant: one list for the whole program, so that what one place lets through is not what another one takes out later,
//! and a secret is never put together again after the search for it.

/// Whether a reader does not see the character, while a model or a terminal obeys it: zero-width and bidirectional
/// controls (Unicode Standard Annex 9, "Trojan Source"), fillers, invisible operators, variation selectors, tags.
#[must_use]
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}
