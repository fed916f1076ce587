//! Decides, word by word, what may stand in a pull request as it is.
//!
//! Invariant: what is not known to be harmless is put into a code span; a code span never ends before its end and
//! holds no closing keyword that a tracker would act on.

/// Punctuation that means nothing to any Markdown dialect where it stands beside letters.
pub(super) const SAFE: &str = "(),.;:!?\"'“”‘’…–—→·•×≥≤≠°€";
/// Punctuation that may open a word.
const LEADING: [char; 5] = ['(', '"', '\'', '“', '‘'];
/// Punctuation that may end a word.
const TRAILING: [char; 12] = [')', '"', '\'', ',', '.', ';', ':', '!', '?', '”', '’', '…'];
/// Words after which GitHub, GitLab, Gitea and Sentry look for an issue to close.
const CLOSING: [&str; 14] = [
    "fix",
    "fixes",
    "fixed",
    "close",
    "closes",
    "closed",
    "resolve",
    "resolves",
    "resolved",
    "implement",
    "implements",
    "implemented",
    "fixing",
    "closing",
];

/// A part of a line.
pub(super) enum Piece<'a> {
    /// White space.
    Space,
    /// The content of a code span.
    Code(&'a str),
    /// Anything else up to the next space or backtick.
    Word(&'a str),
}

/// Takes a line apart. Backticks without a partner belong to a word.
pub(super) fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (piece, next) = if first.is_whitespace() {
            (Piece::Space, rest.trim_start())
        } else if first == '`' {
            code_span(rest).unwrap_or_else(|| {
                let (word, next) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
                (Piece::Word(word), next)
            })
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == '`').unwrap_or(rest.len());
            let (word, next) = rest.split_at(end);
            (Piece::Word(word), next)
        };
        found.push(piece);
        rest = next;
    }
    found
}

/// The code span at the start of the text, if the run of backticks that opens it is closed by one of the same length.
fn code_span(text: &str) -> Option<(Piece<'_>, &str)> {
    let inside = text.trim_start_matches('`');
    let length = text.len() - inside.len();
    let mut at = 0;
    while let Some(start) = inside.get(at..)?.find('`').map(|found| at + found) {
        let after = inside.get(start..)?.trim_start_matches('`');
        let end = inside.len() - after.len();
        if end - start == length {
            return Some((Piece::Code(inside.get(..start)?), after));
        }
        at = end;
    }
    None
}

/// Judges the words of one text in their order.
#[derive(Default)]
pub(super) struct Judge {
    /// A closing keyword went before, and nothing since then has cut it off from what follows.
    after_keyword: bool,
}

impl Judge {
    /// A code span for the content.
    pub(super) fn code(&mut self, content: &str) -> String {
        self.after_keyword = false;
        span(content)
    }

    /// The word as it may stand, and whether that is a code span.
    pub(super) fn word(&mut self, word: &str, first_in_line: bool) -> (String, bool) {
        if is_punctuation(word) || (word == "-" && !first_in_line) {
            return (word.to_owned(), false);
        }
        let headless = word.trim_start_matches(LEADING);
        // A closing bracket belongs to the word that opened one: `f(x)`.
        let ends = |c: char| TRAILING.contains(&c) && (c != ')' || !headless.contains('('));
        let core = headless.trim_end_matches(ends);
        let lead = word.strip_suffix(headless).unwrap_or_default();
        let trail = headless.strip_prefix(core).unwrap_or_default();
        if core.is_empty() || trail.contains("::") {
            return (self.code(word), true);
        }
        if !is_plain(core) || (self.after_keyword && core.contains('-')) {
            self.after_keyword = false;
            let code = span(core);
            return (format!("{lead}{code}{trail}"), true);
        }
        let reaches_on = |c: char| matches!(c, ',' | ':');
        self.after_keyword = trail.chars().all(reaches_on) && (self.after_keyword || ends_in_keyword(core));
        (word.to_owned(), false)
    }
}

/// Whether the word is punctuation alone, and harmless wherever it stands.
pub(super) fn is_punctuation(word: &str) -> bool {
    !word.is_empty() && !word.contains("::") && word.chars().all(|c| SAFE.contains(c))
}

/// Whether a word without its outer punctuation is harmless: no markup, link, mention, reference or commit id.
fn is_plain(core: &str) -> bool {
    let chars: Vec<char> = core.chars().collect();
    let around = |at: usize, kind: fn(&char) -> bool| {
        at > 0 && chars.get(at - 1).is_some_and(kind) && chars.get(at + 1).is_some_and(kind)
    };
    let digit = |c: &char| c.is_ascii_digit();
    let alphanumeric = |c: &char| c.is_alphanumeric();
    let harmless = chars.iter().enumerate().all(|(at, c)| match c {
        '-' | '\'' | '’' | '–' | '—' | '→' => around(at, alphanumeric),
        '/' => around(at, |c| c.is_alphabetic()) && chars.iter().filter(|c| **c == '/').count() == 1,
        '.' => around(at, digit) || core.split('.').all(|part| part.chars().count() == 1),
        '%' => at > 0 && at + 1 == chars.len() && chars.iter().all(|c| c.is_ascii_digit() || matches!(c, '.' | '%')),
        _ => c.is_alphanumeric(),
    });
    // `www` before a dot begins an address, whatever follows the dot.
    harmless && !core.to_ascii_lowercase().ends_with("www") && !is_commit(core) && !is_key(core)
}

/// `deadbeef1`: forges link what may be a commit.
fn is_commit(core: &str) -> bool {
    core.split(|c: char| !c.is_alphanumeric()).any(|part| {
        part.len() >= 7 && part.chars().all(|c| c.is_ascii_hexdigit()) && part.contains(|c: char| c.is_ascii_digit())
    })
}

/// `GH-1`, `WEB-1F`, `ABC-X`: trackers link and close what may be one of their keys.
fn is_key(core: &str) -> bool {
    core.split_once('-').is_some_and(|(head, tail)| {
        head.contains(|c: char| c.is_ascii_digit()) || tail.contains(|c: char| c.is_ascii_digit() || c.is_uppercase())
    })
}

/// A code span around one line of text; empty text gives an empty string.
pub(super) fn span(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'");
    if text.is_empty() { text } else { format!("`{}`", defuse(&text)) }
}

/// Puts a dot between a closing keyword and the reference that it would close, and into what would skip the checks.
///
/// Sentry looks for keywords in the raw text of commits and pull requests, code or not: a keyword, white space, then
/// a short id anywhere in the run of word characters, spaces and commas that follows, or an address (`find_referenced_groups`).
pub(super) fn defuse(text: &str) -> String {
    let text = &super::checks::kept(text);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            let before = text.get(..at).unwrap_or_default();
            if ends_in_keyword(before.strip_suffix(':').unwrap_or(before)) && closes(text.get(at..).unwrap_or_default())
            {
                out.push_str(" ·");
            }
        }
        out.push(c);
    }
    out
}

/// Whether the last word of the text, for whoever looks at word boundaries, is a closing keyword.
fn ends_in_keyword(text: &str) -> bool {
    let last = text.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
    CLOSING.contains(&last.to_ascii_lowercase().as_str())
}

/// Whether what follows a keyword names something that could be closed.
fn closes(rest: &str) -> bool {
    let rest = rest.trim_start();
    let run = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c.is_whitespace() || matches!(c, '_' | '-' | ',')));
    let (run, after) = rest.split_at(run.unwrap_or(rest.len()));
    run.contains('-') || after.starts_with("://") || after.starts_with(['#', '/', '!'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_words_stay_and_everything_else_is_code() {
        let mut judge = Judge::default();
        for word in ["don't", "and/or", "off-by-one", "3.14", "50%", "e.g.", "(naïve)", "漢字", "“so”,", "12"] {
            assert_eq!(judge.word(word, false), (word.to_owned(), false));
        }
        for word in [
            "@x",
            "#1",
            "GH-1",
            "a/b#1",
            "www.x.org",
            "https://x.org",
            "a@b.c",
            "<b>",
            "[x](y)",
            "&lt;",
            "x_y",
            "--",
            "==",
            "|",
            "\\",
            "1234567",
            "WEB-1F",
            "~~x~~",
            "$x$",
            "!1",
            ":+1:",
            "＠x",
            "a..b",
            "/close",
        ] {
            assert!(judge.word(word, false).1, "{word}");
        }
        assert_eq!(judge.word("(foo_bar),", false).0, "(`foo_bar`),");
    }

    #[test]
    fn a_closing_keyword_is_cut_off_from_what_it_would_close() {
        assert_eq!(defuse("fixes OTHER-1"), "fixes · OTHER-1");
        assert_eq!(defuse("Closes:\n the bug, web-a"), "Closes: ·\n the bug, web-a");
        assert_eq!(defuse("fix fixes A-1"), "fix · fixes · A-1");
        assert_eq!(defuse("resolved https://sentry.io/issues/1"), "resolved · https://sentry.io/issues/1");
        assert_eq!(defuse("the fix adds a check"), "the fix adds a check");
        assert_eq!(defuse("Fix KeyError: 'total'"), "Fix KeyError: 'total'");
        assert_eq!(defuse(&defuse("fixes #1 and A-1")), defuse("fixes #1 and A-1"));
    }
}
