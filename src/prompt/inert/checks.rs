//! Marks that tell a forge to skip the checks of a commit.
//!
//! Invariant: none survives, in code neither: where commits are squashed, the body of a pull request becomes the message of one.

use std::sync::LazyLock;

use regex::Regex;

/// `[skip ci]`, `[ci skip]`, `[no ci]`, `[skip actions]` and their like, and `***NO_CI***`.
const SKIPPING: &str = r"(?i)(\[|\*\*\*)((?:[a-z]+[ -])?skip(?:[ -][a-z]+)?|no[ _]ci)(\]|\*\*\*)";

/// The text with a dot in each mark, so that it is one no more.
pub(super) fn kept(text: &str) -> String {
    static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(SKIPPING).ok());
    MARK.as_ref().map_or_else(|| text.to_owned(), |mark| mark.replace_all(text, "$1·$2$3").into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_that_skips_the_checks_survives_and_other_brackets_do() {
        for mark in ["[skip ci]", "[CI skip]", "[no ci]", "[skip actions]", "[skip azurepipelines]", "***NO_CI***"] {
            let said = kept(mark);
            assert!(!said.contains(mark) && kept(&said) == said, "{said}");
        }
        for text in ["[x](y)", "a[skipped]", "no ci", "[skip the first of them]"] {
            assert_eq!(kept(text), text);
        }
    }
}
