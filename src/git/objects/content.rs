//! Reads files of a commit, and finds the files that a stack frame may mean.
//!
//! Invariant: paths are looked up in the commit's tree only, so that `..` and links lead nowhere.

use git2::ObjectType;

use super::{each_entry, entry_at, tree_of};
use crate::git::GitError;
use crate::git::mirror::Mirror;

/// The content of a file in a commit or tree; `None` where there is no such file, where it is a folder, link or
/// submodule, or where it has more than `max` bytes.
///
/// # Errors
/// Where the commit is not in the mirror.
pub async fn read_file(mirror: &Mirror, commit: &str, path: &str, max: usize) -> Result<Option<Vec<u8>>, GitError> {
    let (commit, path) = (commit.to_owned(), path.to_owned());
    mirror
        .read("read a file", move |repo| {
            let Some(entry) = entry_at(repo, &commit, &path)? else { return Ok(None) };
            let is_file = entry.kind() == Some(ObjectType::Blob) && entry.filemode() != 0o120_000;
            if !is_file || repo.odb()?.read_header(entry.id())?.0 > max {
                return Ok(None);
            }
            Ok(Some(repo.find_blob(entry.id())?.content().to_vec()))
        })
        .await
}

/// Files of a commit that a path may mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fit {
    /// The files, all of which fit equally well.
    pub paths: Vec<String>,
    /// In how many last components they agree with the path.
    pub agreed: usize,
    /// How many components the path has.
    pub of: usize,
}

/// For each path as a program names it (`/app/web/views.py`, `webpack:///./src/a.ts`, `C:\srv\a.cs`): the files of the
/// commit that agree with it in the most last components, all of them where several agree equally; none where not even
/// the file's name fits. One walk over the tree for all of them.
///
/// # Errors
/// Where the commit is not in the mirror.
pub async fn find_paths(mirror: &Mirror, commit: &str, frames: &[String]) -> Result<Vec<Fit>, GitError> {
    let (commit, frames) = (commit.to_owned(), frames.to_vec());
    mirror
        .read("find files", move |repo| {
            let wanted: Vec<Vec<&str>> = frames.iter().map(|frame| components(frame)).collect();
            let mut best: Vec<(usize, Vec<String>)> = vec![(0, Vec::new()); wanted.len()];
            each_entry(repo, &tree_of(repo, &commit)?, &mut |path, entry| {
                if entry.kind() == Some(ObjectType::Blob)
                    && let (Ok(name), Ok(path)) = (entry.name(), str::from_utf8(&path))
                {
                    for (wanted, best) in wanted.iter().zip(&mut best) {
                        if wanted.last() == Some(&name) {
                            keep_best(best, wanted, path);
                        }
                    }
                }
            })?;
            Ok(wanted
                .iter()
                .zip(best)
                .map(|(wanted, (agreed, mut paths))| {
                    paths.sort_unstable();
                    Fit { paths, agreed, of: wanted.len() }
                })
                .collect())
        })
        .await
}

/// Components of a path as a program names it, without what bundlers put before and after.
fn components(frame: &str) -> Vec<&str> {
    let frame = frame.split_once("://").map_or(frame, |(_, rest)| rest);
    let frame = frame.split(['?', '#']).next().unwrap_or(frame);
    frame.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".." | "~")).collect()
}

fn keep_best(best: &mut (usize, Vec<String>), wanted: &[&str], path: &str) {
    let agreed = wanted.iter().rev().zip(path.rsplit('/')).take_while(|(a, b)| **a == *b).count();
    if agreed > best.0 {
        *best = (agreed, vec![path.to_owned()]);
    } else if agreed == best.0 {
        best.1.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_however_the_program_writes_them() {
        assert_eq!(components("webpack:///./src/a.ts?1f2e"), ["src", "a.ts"]);
        assert_eq!(components("C:\\srv\\web\\a.cs"), ["C:", "srv", "web", "a.cs"]);
        assert_eq!(components("/app/../web/views.py"), ["app", "web", "views.py"]);
    }

    #[test]
    fn the_longest_agreement_wins_and_equals_are_all_kept() {
        let wanted = components("/app/web/views.py");
        let mut best = (0, Vec::new());
        for path in ["api/views.py", "src/web/views.py", "lib/web/views.py", "views.py"] {
            keep_best(&mut best, &wanted, path);
        }
        assert_eq!(best, (2, vec!["src/web/views.py".to_owned(), "lib/web/views.py".to_owned()]));
    }
}
