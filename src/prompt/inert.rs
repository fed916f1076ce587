//! Hostile text as Markdown that can only be read: what an agent, an event or a commit says, in a pull request.
//!
//! Invariant: an allow-list. A word stands as it is only if it is made of letters, digits and harmless punctuation;
//! every other word becomes a code span, in which no forge sees HTML, links, images, mentions or references.

mod checks;
mod word;

use std::fmt::Write as _;

use super::clean;
use word::Judge;

/// Prose: paragraphs, flat lists, code spans and fenced blocks survive; everything else is shown as it was typed.
///
/// At most `max` characters of the text are used. Doing it twice changes nothing.
#[must_use]
pub fn prose(text: &str, max: usize) -> String {
    let text = clean::shorten(clean::visible(text).trim(), max);
    let mut judge = Judge::default();
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((mark, length)) = fence_start(line) {
            let closes = |l: &&str| l.trim().chars().all(|c| c == mark) && l.trim().len() >= length;
            let inside: Vec<&str> = lines.by_ref().take_while(|l| !closes(l)).collect();
            out.push_str(&fenced(&inside.join("\n")));
            out.push('\n');
        } else {
            let line = prose_line(line, &mut judge);
            // Runs of empty lines say no more than one does.
            if !(line.is_empty() && (out.is_empty() || out.ends_with("\n\n"))) {
                out.push_str(&line);
                out.push('\n');
            }
        }
    }
    out.trim_end().to_owned()
}

/// A code span on one line, of at most `max` characters of the text; empty text gives an empty string.
#[must_use]
pub fn code(text: &str, max: usize) -> String {
    word::span(&clean::one_line(text, max))
}

/// A code span for a cell of a table. A bar would end the cell, so it is shown as a broken bar.
#[must_use]
pub fn cell(text: &str, max: usize) -> String {
    code(&text.replace('|', "¦"), max)
}

/// A fenced code block of at most the last `max` characters of the text.
#[must_use]
pub fn block(text: &str, max: usize) -> String {
    fenced(&clean::shorten_to_end(clean::visible(text).trim_matches('\n'), max))
}

/// Markdown of ours or made here, as a quotation: every line is marked as somebody else's words.
#[must_use]
pub fn quote(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    for line in markdown.lines() {
        let _ = writeln!(out, "{}", format!("> {line}").trim_end());
    }
    out.trim_end().to_owned()
}

/// One line of plain text for where Markdown means nothing but a forge still looks for signs: titles and commit messages.
#[must_use]
pub fn plain(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean::one_line(text, max).chars() {
        match c {
            // `[skip ci]` stops the checks; backticks are code in titles.
            '[' | '{' => out.push('('),
            ']' | '}' => out.push(')'),
            '`' => out.push('\''),
            '<' => out.push('‹'),
            '>' => out.push('›'),
            '@' | '\u{fe6b}' | '\u{ff20}' => out.push_str("(at)"),
            _ if c.is_alphanumeric() || word::SAFE.contains(c) || " -/+=_%‹›".contains(c) => out.push(c),
            // `#1` is a reference to an issue, `***NO_CI***` stops the checks, a backslash continues a line.
            _ => out.push(' '),
        }
    }
    word::defuse(&unlinked(&out).split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Plain text in which no forge finds an address or a reference: `https://`, `www.`, `GH-1` and `!1` are taken apart.
fn unlinked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let before =
            |end: &str| out.get(out.len().saturating_sub(end.len())..).is_some_and(|e| e.eq_ignore_ascii_case(end));
        let a_digit_follows = chars.peek().is_some_and(char::is_ascii_digit);
        match c {
            '/' if before(":") => out.push_str(" /"),
            '.' if before("www") => out.push_str(" ."),
            '-' if before("gh") && a_digit_follows => out.push(' '),
            '!' if a_digit_follows => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

/// The character and the length of the fence that this line opens.
fn fence_start(line: &str) -> Option<(char, usize)> {
    let line = line.trim();
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.chars().take_while(|c| *c == mark).count();
    let info = line.get(length..).unwrap_or_default();
    (length >= 3 && !info.contains('`')).then_some((mark, length))
}

/// A code block whose fence is longer than any run of backticks inside. The info string is ours alone to give: forges
/// run programs on some (`mermaid`, `suggestion`).
fn fenced(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(3.max(longest + 1));
    let text = word::defuse(text);
    if text.is_empty() { format!("{fence}\n{fence}") } else { format!("{fence}\n{text}\n{fence}") }
}

/// One line of prose: an optional bullet, then words and code spans.
fn prose_line(line: &str, judge: &mut Judge) -> String {
    let (bullet, rest) = without_structure(line);
    let mut out = String::from(if bullet { "- " } else { "" });
    let start = out.len();
    let mut space = false;
    let mut after_code = false;
    for piece in word::pieces(rest) {
        let (text, is_code) = match piece {
            word::Piece::Space => {
                space = true;
                continue;
            }
            word::Piece::Code(content) => (judge.code(content), true),
            word::Piece::Word(text) => judge.word(text.trim_matches('*'), out.len() == start),
        };
        if text.is_empty() {
            space = true;
            continue;
        }
        // Two things that touch must not become one: only punctuation may lean on a code span.
        let touches = (after_code && !word::is_punctuation(&text))
            || (is_code && out.len() > start && !out.ends_with(['(', '"', '\'', '“', '‘']));
        if out.len() > start && (space || touches) {
            out.push(' ');
        }
        out.push_str(&text);
        space = false;
        after_code = is_code;
    }
    if out.len() == start { String::new() } else { out }
}

/// Strips heading and quotation marks, and tells whether the line was an item of a list.
fn without_structure(line: &str) -> (bool, &str) {
    let mut rest = line.trim();
    loop {
        let hashes = rest.trim_start_matches('#');
        let next = if rest.starts_with('>') {
            rest.trim_start_matches('>')
        } else if hashes.len() < rest.len() && (hashes.is_empty() || hashes.starts_with(char::is_whitespace)) {
            hashes
        } else {
            break;
        };
        rest = next.trim_start();
    }
    match rest.strip_prefix(['-', '*', '+', '•']) {
        Some(item) if item.starts_with(char::is_whitespace) => (true, item.trim_start()),
        _ => (false, rest),
    }
}
