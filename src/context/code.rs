//! Finds the code of the stack's frames in the repository.
//!
//! Invariant: a path from an event is only ever compared with paths of the commit's tree; it is never opened. A file that
//! agrees with a frame in no more than its name is shown only where it reads as the event says.

use std::path::Path;

use crate::clock;
use crate::evidence::{CodeExcerpt, Event, Found, Frame, Provenance};
use crate::git::GitError;
use crate::git::mirror::Mirror;
use crate::git::objects::{self, Fit};
use crate::redact::hide_private_keys;

/// Lines shown before and after a frame's line.
const AROUND: u32 = 12;
/// Most frames that are looked up.
const MOST_FRAMES: usize = 12;
/// Largest file that is read.
const MOST_BYTES: usize = 1 << 20;

/// The code of an event's frames.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Code {
    /// Excerpts, the innermost frame's first, each place once.
    pub excerpts: Vec<CodeExcerpt>,
    /// In-app frames that were not looked up because there were too many.
    pub omitted: usize,
}

/// Maps the in-app frames of an event to files of a commit, and cuts the code around each line out of them.
///
/// # Errors
/// Where the commit cannot be read.
pub async fn locate(mirror: &Mirror, commit: &str, folder: Option<&Path>, event: &Event) -> Result<Code, GitError> {
    let frames = event.exceptions.iter().flat_map(|exception| &exception.frames).filter(|frame| frame.in_app);
    let mut frames: Vec<&Frame> = frames.collect();
    let mut code = Code { omitted: frames.len().saturating_sub(MOST_FRAMES * 2), ..Code::default() };
    frames.truncate(MOST_FRAMES * 2);
    // All at once: every question walks the whole tree.
    let names: Vec<String> = frames.iter().flat_map(|frame| names_of(frame)).map(str::to_owned).collect();
    let mut found = objects::find_paths(mirror, commit, &names).await?.into_iter();
    for frame in frames {
        let fits: Vec<Fit> = found.by_ref().take(names_of(frame).count()).collect();
        let (Some(line), Some((path, sure))) = (frame.line, meant(fits, folder)) else { continue };
        if code.excerpts.iter().any(|known| known.path == path && known.line == line) {
            continue;
        }
        if code.excerpts.len() >= MOST_FRAMES {
            code.omitted += 1;
            continue;
        }
        let Some(bytes) = objects::read_file(mirror, commit, &path, MOST_BYTES).await? else { continue };
        // What is no text is no source code.
        let Some(text) = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')) else { continue };
        let excerpt = excerpt(frame, line, path, &text);
        code.excerpts.extend(excerpt.filter(|excerpt| sure || excerpt.matches_event == Some(true)));
    }
    Ok(code)
}

/// What a frame calls its file, the more telling name first.
fn names_of(frame: &Frame) -> impl Iterator<Item = &str> {
    [frame.abs_path.as_deref(), frame.file.as_deref()].into_iter().flatten()
}

/// The one file that a frame's names mean, and whether they say so clearly: by folder and name, or by the name alone where
/// neither side has a folder to tell.
fn meant(fits: Vec<Fit>, folder: Option<&Path>) -> Option<(String, bool)> {
    let longest = fits.iter().map(|fit| fit.of).max()?;
    fits.into_iter().find_map(|fit| {
        let agreed = fit.agreed;
        let path = only_path(fit.paths, folder)?;
        let sure = agreed >= 2 || longest == 1 || !path.contains('/');
        Some((path, sure))
    })
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

/// The excerpts as evidence.
#[must_use]
pub fn evidence(excerpts: Vec<CodeExcerpt>, commit: &str, event: Option<&Event>) -> Found<Vec<CodeExcerpt>> {
    match event {
        None => Found::missing("there is no event whose frames could be looked up"),
        Some(_) if excerpts.is_empty() => {
            Found::missing("no in-app frame of the event could be found in the repository")
        }
        Some(_) => {
            let source = format!("repository at {}", commit.get(..12).unwrap_or(commit));
            let from = Provenance { source, at: clock::now(), outsider_can_write: false };
            Found::Here { value: excerpts, from }
        }
    }
}

fn excerpt(frame: &Frame, line: u32, path: String, text: &str) -> Option<CodeExcerpt> {
    let (from, to) = (line.saturating_sub(AROUND).max(1), line.saturating_add(AROUND));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // In the whole file, since an excerpt may begin in the middle of one.
    hide_private_keys(&mut lines.iter_mut().collect::<Vec<_>>());
    let numbered = (1_u32..).zip(lines);
    let source: Vec<(u32, String)> = numbered.filter(|(number, _)| (from..=to).contains(number)).collect();
    let here = source.iter().find(|(number, _)| *number == line)?;
    let seen = frame.source.iter().find(|(number, _)| *number == line).map(|(_, seen)| seen.trim());
    let matches_event = seen.map(|seen| seen == here.1.trim());
    Some(CodeExcerpt { path, function: frame.function.clone(), line, matches_event, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt_at(line: u32, seen: Option<&str>, text: &str) -> Option<CodeExcerpt> {
        let source = seen.map(|seen| (line, seen.to_owned())).into_iter().collect();
        excerpt(&Frame { source, ..Frame::default() }, line, "a.py".to_owned(), text)
    }

    #[test]
    fn an_excerpt_says_whether_the_line_is_still_what_the_event_saw() {
        let text = (1..=40).map(|n| format!("line {n}\n")).collect::<String>();
        let same = excerpt_at(20, Some("  line 20"), &text).unwrap();
        assert_eq!((same.source.first().unwrap().0, same.source.last().unwrap().0), (8, 32));
        assert_eq!(same.matches_event, Some(true));
        assert_eq!(excerpt_at(21, Some("line 20"), &text).unwrap().matches_event, Some(false));
        assert_eq!(excerpt_at(1, None, &text).unwrap().matches_event, None);
    }

    #[test]
    fn a_private_key_in_the_code_is_hidden_even_where_the_excerpt_begins_in_it() {
        let key = format!(
            "-----BEGIN {0} KEY-----\n{1}-----END {0} KEY-----\nuse(KEY)\n",
            "PRIVATE",
            "MIIEpAIBAAKCAQEA\n".repeat(30)
        );
        let shown = excerpt_at(33, None, &key).unwrap();
        assert!(shown.source.iter().all(|(_, line)| !line.contains("MII")), "{shown:?}");
        assert_eq!(shown.source.last().unwrap().1, "use(KEY)");
    }

    #[test]
    fn a_file_that_shares_only_its_name_with_a_longer_path_is_not_clearly_meant() {
        let fit = |path: &str, agreed, of| Fit { paths: vec![path.to_owned()], agreed, of };
        let sure = |fits| meant(fits, None).map(|(_, sure)| sure);
        assert_eq!(sure(vec![fit("src/shop/cart.py", 1, 3)]), Some(false));
        assert_eq!(sure(vec![fit("src/shop/cart.py", 1, 3), fit("src/shop/cart.py", 1, 1)]), Some(false));
        assert_eq!(sure(vec![fit("src/shop/cart.py", 2, 3)]), Some(true));
        assert_eq!(sure(vec![fit("cart.py", 1, 3)]), Some(true));
        assert_eq!(sure(vec![fit("src/Cart.java", 1, 1)]), Some(true));
        assert_eq!(sure(Vec::new()), None);
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
        assert!(excerpt_at(41, None, "one\ntwo\n").is_none());
    }
}
