//! Commits that may have caused the error: the tracker's, and our own from blaming the frames' lines.
//!
//! Invariant: a suspect is a hypothesis with its reason; the list is short, best first, and holds each commit once.

use crate::clock;
use crate::evidence::{CodeExcerpt, Found, Gap, Provenance, Suspect};
use crate::git::mirror::Mirror;
use crate::git::objects;
use crate::redact::hide_private_keys;

/// What the part is called.
const PART: &str = "suspect commits";
/// Most suspects that are kept.
const MOST: usize = 5;
/// Most bytes of one suspect's diff.
const DIFF_BYTES: usize = 24 * 1024;
/// How far back a line is followed, in commits.
pub const HISTORY: usize = 2_000;
/// Frames that are blamed; the innermost ones, where the error was raised.
const FRAMES: usize = 4;

/// Joins the tracker's suspects with those from blame, and adds the diffs of those that the repository holds. A line is
/// followed back through at most `history` commits, see [`HISTORY`].
pub async fn join(
    mirror: &Mirror,
    commit: &str,
    code: &[CodeExcerpt],
    tracker: Found<Vec<Suspect>>,
    history: usize,
) -> (Found<Vec<Suspect>>, Vec<Gap>) {
    let (mut suspects, mut sources, mut gaps) = (Vec::<Suspect>::new(), Vec::new(), Vec::new());
    let why_not = match tracker {
        Found::Here { value, from } => {
            suspects.extend(value);
            sources.push(from.source);
            None
        }
        Found::Missing { why } => Some(why),
    };
    let blamed = blamed(mirror, commit, code, history).await;
    if !blamed.is_empty() {
        sources.push("git blame".to_owned());
    }
    for suspect in blamed {
        match suspects.iter_mut().find(|known| known.commit == suspect.commit) {
            Some(known) => known.why = format!("{}; {}", known.why, suspect.why),
            None => suspects.push(suspect),
        }
    }
    if suspects.is_empty() {
        let why_not = why_not.unwrap_or_else(|| "Sentry names no suspect commit".to_owned());
        let why = format!("{why_not}, and no line of an in-app frame could be blamed");
        return (Found::missing(why), gaps);
    }
    gaps.extend(why_not.map(|why| Gap::new(PART, format!("none are Sentry's: {why}"))));
    if let Some(more) = suspects.len().checked_sub(MOST).filter(|more| *more > 0) {
        gaps.push(Gap::new(PART, format!("{more} more were left out")));
        suspects.truncate(MOST);
    }
    for suspect in &mut suspects {
        // The tracker may name a commit of another repository, or one that was rebased away.
        suspect.diff = diff_of(mirror, &suspect.commit).await.unwrap_or_default();
    }
    let from = Provenance { source: sources.join(", "), at: clock::now(), outsider_can_write: false };
    (Found::Here { value: suspects, from }, gaps)
}

/// What a commit changed against its first parent; `None` where the mirror does not hold it.
async fn diff_of(mirror: &Mirror, commit: &str) -> Option<String> {
    let info = objects::commit_info(mirror, commit).await.ok()?;
    // It is cut between lines, so no token is; a private key goes over several.
    let diff = objects::diff(mirror, info.parents.first()?, commit, DIFF_BYTES).await.ok()?;
    let mut lines: Vec<String> = diff.split_inclusive('\n').map(str::to_owned).collect();
    hide_private_keys(&mut lines.iter_mut().collect::<Vec<_>>());
    Some(lines.iter().map(|line| line.trim_end_matches('\n')).collect::<Vec<_>>().join("\n"))
}

/// The commits that last changed the frames' lines, newest first. A line that reads differently in the event is not blamed:
/// it may be another one.
async fn blamed(mirror: &Mirror, commit: &str, code: &[CodeExcerpt], history: usize) -> Vec<Suspect> {
    let mut suspects: Vec<Suspect> = Vec::new();
    for place in code.iter().filter(|place| place.matches_event != Some(false)).take(FRAMES) {
        // Neighbours count too: an error often shows one line after the one that caused it.
        let lines: Vec<u32> = (place.line.saturating_sub(2).max(1)..=place.line.saturating_add(1)).collect();
        let Ok(blamed) = objects::blame(mirror, commit, &place.path, &lines, history).await else { continue };
        // Where the search ended, a commit that never touched the line would be named.
        for line in blamed.into_iter().filter(|line| !line.older) {
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
