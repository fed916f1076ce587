//! The message of the commit, whose first line is the title of the pull request too.
//!
//! Invariant: only our own lines begin at the left margin, so that nobody else's text becomes a trailer or stops the
//! checks; the trailers are the last paragraph.

use serde::Serialize;

use super::super::facts::PullRequestFacts;
use super::{Scribe, TITLE_MAX, cap, short_id};
use crate::prompt::clean;

/// Characters of a line of the message, the indent left out.
const WIDTH: usize = 68;

/// What the template sees.
#[derive(Serialize)]
pub(super) struct View {
    subject: String,
    root_cause: Vec<String>,
    agent: String,
    job: i64,
    fixes: Option<String>,
    trailers: Vec<String>,
}

impl View {
    pub(super) fn new(scribe: Scribe<'_>, facts: &PullRequestFacts) -> Self {
        let claim = facts.claims.root_cause.as_deref().unwrap_or_default();
        let sign_off = facts.sign_off.iter().map(|who| format!("Signed-off-by: {who}"));
        Self {
            subject: subject(scribe, facts),
            root_cause: wrap(&scribe.plain(claim, cap::ROOT_CAUSE)),
            agent: scribe.plain(&facts.agent, 60),
            job: facts.job.0,
            // The full stop: Sentry reads on over spaces and line ends, and what follows is a trailer with a hyphen.
            fixes: short_id(facts).map(|id| format!("Fixes {id}.")),
            trailers: facts.trailers.iter().cloned().chain(sign_off).filter_map(|line| trailer(&line)).collect(),
        }
    }
}

/// One line of at most [`TITLE_MAX`] characters: `Fix KeyError in apply_discount (WEB-1F)`.
pub(super) fn subject(scribe: Scribe<'_>, facts: &PullRequestFacts) -> String {
    let raised = facts.event.as_ref().and_then(|event| event.exceptions.first()).filter(|e| !e.kind.is_empty());
    let function = facts.first_own_frame().and_then(|frame| frame.function.as_deref());
    let what = match (raised, function) {
        (Some(raised), Some(function)) => format!("{} in {function}", raised.kind),
        (Some(raised), None) if raised.value.trim().is_empty() => raised.kind.clone(),
        (Some(raised), None) => format!("{}: {}", raised.kind, raised.value),
        (None, _) => facts.alert.title.clone(),
    };
    let what = Some(scribe.plain(&what, 500)).filter(|what| !what.is_empty()).unwrap_or_else(|| "an error".to_owned());
    // Half of the line is the error's: a short id that takes more than the other half is left to the body.
    let id = short_id(facts).map(|id| format!(" ({id})")).filter(|id| id.len() <= TITLE_MAX / 2).unwrap_or_default();
    let title = format!("Fix {what}");
    // A word with a hyphen may be somebody's short id, which our own "Fix" would close; in quotation marks it closes nothing.
    let (before, after) = if scribe.plain(&title, usize::MAX) == title { ("Fix ", "") } else { ("Fix “", "”") };
    let room = TITLE_MAX - id.len() - (before.chars().count() + after.chars().count());
    let what = match what.char_indices().nth(room) {
        None => what,
        Some(_) => what.chars().take(room - 1).collect::<String>().trim_end().to_owned() + "…",
    };
    format!("{before}{what}{after}{id}")
}

/// A trailer on one line, if it has the shape of one.
fn trailer(line: &str) -> Option<String> {
    let line = clean::one_line(line, 300);
    let (key, _) = line.split_once(": ")?;
    let sound = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    sound.then_some(line)
}

/// Breaks text into lines of at most [`WIDTH`] characters where words allow it.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words_and_no_word_is_lost() {
        let text = "word ".repeat(50) + &"x".repeat(100);
        let lines = wrap(&text);
        assert!(lines.iter().all(|line| line.len() <= WIDTH || !line.contains(' ')));
        assert_eq!(lines.join(" "), text);
    }

    #[test]
    fn only_what_has_the_shape_of_a_trailer_becomes_one() {
        assert_eq!(trailer("Team: payments\n"), Some("Team: payments".to_owned()));
        assert_eq!(trailer("no trailer"), None);
        assert_eq!(trailer("two words: x"), None);
    }
}
