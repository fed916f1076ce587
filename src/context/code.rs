//! Finds the code of the stack's frames in the repository.
//!
//! Invariant: a path from an event is only ever compared with paths of the commit's tree; it is never opened.

use std::path::Path;

use crate::clock;
use crate::evidence::{CodeExcerpt, Event, Found, Frame, Provenance};
use crate::git::GitError;
use crate::git::mirror::Mirror;
use crate::git::objects;

/// Lines shown before and after a frame's line.
const AROUND: u32 = 12;
/// Most frames that are looked up.
const MOST_FRAMES: usize = 12;
/// Largest file that is read.
const MOST_BYTES: usize = 1 << 20;

/// A frame and the file of the repository that it stands for.
#[derive(Clone, Debug)]
pub struct Located {
    /// Path in the repository.
    pub path: String,
    /// Line, from 1.
    pub line: u32,
    /// Function.
    pub function: Option<String>,
    /// The source line as the event has it.
    pub seen: Option<String>,
}

/// Maps the in-app frames of an event to files of a commit, innermost first, each place once.
///
/// # Errors
/// Where the commit cannot be read.
pub async fn locate(
    mirror: &Mirror,
    commit: &str,
    folder: Option<&Path>,
    event: &Event,
) -> Result<Vec<Located>, GitError> {
    let mut located: Vec<Located> = Vec::new();
    let frames = event.exceptions.iter().flat_map(|exception| &exception.frames).filter(|frame| frame.in_app);
    let frames: Vec<&Frame> = frames.take(MOST_FRAMES * 2).collect();
    // All at once: every question walks the whole tree.
    let names: Vec<String> = frames.iter().flat_map(|frame| names_of(frame)).map(str::to_owned).collect();
    let mut found = objects::find_paths(mirror, commit, &names).await?.into_iter();
    for frame in frames {
        let candidates: Vec<Vec<String>> = found.by_ref().take(names_of(frame).count()).collect();
        let path = candidates.into_iter().find_map(|paths| only_path(paths, folder));
        let (Some(line), Some(path)) = (frame.line, path) else { continue };
        if located.len() < MOST_FRAMES && !located.iter().any(|known| known.path == path && known.line == line) {
            let seen = frame.source.iter().find(|(number, _)| *number == line).map(|(_, text)| text.clone());
            located.push(Located { path, line, function: frame.function.clone(), seen });
        }
    }
    Ok(located)
}

/// What a frame calls its file, the more telling name first.
fn names_of(frame: &Frame) -> impl Iterator<Item = &str> {
    [frame.abs_path.as_deref(), frame.file.as_deref()].into_iter().flatten()
}

/// The path that a name means among those of the tree that fit it equally well; those in the project's own folder of a
/// monorepo come first. Two are no answer: a wrong file misleads more than none.
fn only_path(mut paths: Vec<String>, folder: Option<&Path>) -> Option<String> {
    if let Some(folder) = folder
        && paths.iter().any(|path| Path::new(path).starts_with(folder))
    {
        paths.retain(|path| Path::new(path).starts_with(folder));
    }
    if paths.len() == 1 { paths.pop() } else { None }
}

/// Cuts the code around each located frame out of the commit.
///
/// # Errors
/// Where the commit cannot be read.
pub async fn excerpts(mirror: &Mirror, commit: &str, located: &[Located]) -> Result<Found<Vec<CodeExcerpt>>, GitError> {
    let mut excerpts = Vec::new();
    for place in located {
        let Some(bytes) = objects::read_file(mirror, commit, &place.path, MOST_BYTES).await? else { continue };
        let text = String::from_utf8_lossy(&bytes);
        excerpts.extend(excerpt(place, &text));
    }
    if excerpts.is_empty() {
        return Ok(Found::missing("no in-app frame of the event could be found in the repository"));
    }
    let from = Provenance {
        source: format!("repository at {}", commit.get(..12).unwrap_or(commit)),
        at: clock::now(),
        outsider_can_write: false,
    };
    Ok(Found::Here { value: excerpts, from })
}

fn excerpt(place: &Located, text: &str) -> Option<CodeExcerpt> {
    let (from, to) = (place.line.saturating_sub(AROUND).max(1), place.line.saturating_add(AROUND));
    let numbered = (1_u32..).zip(text.lines());
    let source: Vec<(u32, String)> = numbered
        .filter(|(number, _)| (from..=to).contains(number))
        .map(|(number, line)| (number, line.to_owned()))
        .collect();
    let here = source.iter().find(|(number, _)| *number == place.line)?;
    let matches_event = place.seen.as_ref().map(|seen| seen.trim() == here.1.trim());
    Some(CodeExcerpt {
        path: place.path.clone(),
        function: place.function.clone(),
        line: place.line,
        matches_event,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32, seen: Option<&str>) -> Located {
        Located { path: "a.py".into(), line, function: None, seen: seen.map(str::to_owned) }
    }

    #[test]
    fn an_excerpt_says_whether_the_line_is_still_what_the_event_saw() {
        let text = (1..=40).map(|n| format!("line {n}\n")).collect::<String>();
        let same = excerpt(&place(20, Some("  line 20")), &text).unwrap();
        assert_eq!((same.source.first().unwrap().0, same.source.last().unwrap().0), (8, 32));
        assert_eq!(same.matches_event, Some(true));
        assert_eq!(excerpt(&place(21, Some("line 20")), &text).unwrap().matches_event, Some(false));
        assert_eq!(excerpt(&place(1, None), &text).unwrap().matches_event, None);
    }

    #[test]
    fn a_name_that_means_two_files_means_none_unless_one_is_in_the_projects_folder() {
        let paths = || vec!["a/app.py".to_owned(), "b/app.py".to_owned()];
        assert_eq!(only_path(paths(), None), None);
        assert_eq!(only_path(paths(), Some(Path::new("b"))).as_deref(), Some("b/app.py"));
        assert_eq!(only_path(paths(), Some(Path::new("c"))), None);
        assert_eq!(only_path(vec!["a/app.py".to_owned()], Some(Path::new("c"))).as_deref(), Some("a/app.py"));
        assert_eq!(only_path(Vec::new(), None), None);
    }

    #[test]
    fn a_line_beyond_the_file_gives_no_excerpt() {
        assert!(excerpt(&place(41, None), "one\ntwo\n").is_none());
    }
}
