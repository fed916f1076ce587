//! Code as text: what the repository has at the frames, and the commits that are suspected.
//!
//! Invariant: a suspect is always called a hypothesis, and a line that does not read as the event says is pointed out.

use std::fmt::Write as _;

use super::{Block, Caps, line_of_code, one};
use crate::evidence::{CodeExcerpt, Suspect};
use crate::prompt::clean::{one_line, shorten};

/// One block for each excerpt.
pub(super) fn excerpts(code: &[CodeExcerpt], caps: Caps) -> Vec<Block> {
    code.iter().map(|excerpt| one(excerpt_text(excerpt, caps))).collect()
}

fn excerpt_text(excerpt: &CodeExcerpt, caps: Caps) -> String {
    let function = excerpt.function.as_deref().map_or_else(String::new, |f| format!(" in {}", one_line(f, caps.line)));
    let agrees = match excerpt.matches_event {
        Some(true) => "",
        Some(false) => "  (this line reads differently in the event: the file may be another one, or has changed)",
        None => "  (not compared with the event)",
    };
    let mut text = format!("{}:{}{function}{agrees}", one_line(&excerpt.path, caps.line), excerpt.line);
    for (number, line) in &excerpt.source {
        let mark = if *number == excerpt.line { '>' } else { ' ' };
        let _ = write!(text, "\n{mark} {number:>5} | {}", line_of_code(line, caps.line));
    }
    text.push('\n');
    text
}

/// First the list of all suspects, then one block for each diff.
pub(super) fn suspects(suspects: &[Suspect], caps: Caps) -> Vec<Block> {
    if suspects.is_empty() {
        return Vec::new();
    }
    let mut list = String::new();
    for suspect in suspects {
        let when = suspect.at.as_deref().map_or_else(String::new, |at| format!(", {}", one_line(at, 40)));
        let (commit, subject) = (one_line(&suspect.commit, 64), one_line(&suspect.subject, caps.line));
        let (author, why) = (one_line(&suspect.author, 100), one_line(&suspect.why, caps.line));
        let _ = writeln!(list, "{commit}  {subject}  ({author}{when})\n    suspected because: {why}");
    }
    let diffs = suspects.iter().filter(|suspect| !suspect.diff.is_empty()).map(|suspect| {
        one(format!("diff of {}:\n{}", one_line(&suspect.commit, 64), shorten(&suspect.diff, caps.diff)))
    });
    std::iter::once(Block { text: list, units: 0 }).chain(diffs).collect()
}
