//! Commits that may have caused the error: the tracker's, and our own from blaming the frames' lines.
//!
//! Invariant: a suspect is a hypothesis with its reason; the list is short, best first, and holds each commit once.

use crate::clock;
use crate::context::code::Located;
use crate::evidence::{Found, Provenance, Suspect};
use crate::git::mirror::Mirror;
use crate::git::objects;

/// Most suspects that are kept.
const MOST: usize = 5;
/// Most bytes of one suspect's diff.
const DIFF_BYTES: usize = 24 * 1024;
/// How far back a line is followed.
const MOST_COMMITS: usize = 2_000;
/// Frames that are blamed; the innermost ones, where the error was raised.
const FRAMES: usize = 4;

/// Joins the tracker's suspects with those from blame, and adds the diffs of those that the repository holds.
pub async fn join(
    mirror: &Mirror,
    commit: &str,
    located: &[Located],
    tracker: Found<Vec<Suspect>>,
) -> Found<Vec<Suspect>> {
    let (mut suspects, mut sources) = (Vec::<Suspect>::new(), Vec::new());
    let why_not = match tracker {
        Found::Here { value, from } => {
            suspects.extend(value);
            sources.push(from.source);
            "Sentry names no suspect commit".to_owned()
        }
        Found::Missing { why } => why,
    };
    for suspect in blamed(mirror, commit, located).await {
        match suspects.iter_mut().find(|known| known.commit == suspect.commit) {
            Some(known) => known.why = format!("{}; {}", known.why, suspect.why),
            None => suspects.push(suspect),
        }
    }
    suspects.truncate(MOST);
    for suspect in &mut suspects {
        // The tracker may name a commit of another repository, or one that was rebased away.
        suspect.diff = diff_of(mirror, &suspect.commit).await.unwrap_or_default();
    }
    if suspects.is_empty() {
        return Found::missing(format!("{why_not}, and no line of an in-app frame could be blamed"));
    }
    sources.push("git blame".to_owned());
    let from = Provenance { source: sources.join(", "), at: clock::now(), outsider_can_write: false };
    Found::Here { value: suspects, from }
}

/// What a commit changed against its first parent; `None` where the mirror does not hold it.
async fn diff_of(mirror: &Mirror, commit: &str) -> Option<String> {
    let info = objects::commit_info(mirror, commit).await.ok()?;
    objects::diff(mirror, info.parents.first()?, commit, DIFF_BYTES).await.ok()
}

/// The commits that last changed the frames' lines, newest first.
async fn blamed(mirror: &Mirror, commit: &str, located: &[Located]) -> Vec<Suspect> {
    let mut suspects: Vec<Suspect> = Vec::new();
    for place in located.iter().take(FRAMES) {
        // Neighbours count too: an error often shows one line after the one that caused it.
        let lines: Vec<u32> = (place.line.saturating_sub(2).max(1)..=place.line.saturating_add(1)).collect();
        let Ok(blamed) = objects::blame(mirror, commit, &place.path, &lines, MOST_COMMITS).await else { continue };
        for line in blamed {
            let here = format!("{}:{}", place.path, line.line);
            match suspects.iter_mut().find(|known| known.commit == line.commit) {
                Some(known) if known.why.len() < 400 => {
                    known.why.push_str(", ");
                    known.why.push_str(&here);
                }
                Some(_) => {}
                None => suspects.push(Suspect {
                    commit: line.commit,
                    subject: line.subject,
                    author: line.author,
                    at: Some(line.at.to_rfc3339()),
                    why: format!("it last changed {here}"),
                    diff: String::new(),
                }),
            }
        }
    }
    suspects.sort_by(|a, b| b.at.cmp(&a.at));
    suspects
}
