//! Compares a fresh checkout with its commit, by hash.
//!
//! Invariant: every file and link is compared, whatever its size and whatever is ignored; nothing else may be there. What
//! lies in the folder of a submodule is another commit's and not looked at.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use git2::{ObjectType, Oid, Repository};

use super::lfs::Pointer;
use super::names::printable;
use super::snapshot::{Base, LINK, SUBMODULE};
use super::work_tree::{Descend, Entry, Kind, walk};
use crate::git::mirror::Mirror;
use crate::git::{GitError, blocking};

/// The first path at which the folder `dir` does not hold what `commit` says, with the rest of a sentence; `None` where
/// all is as it should be. Files that Git LFS has filled in are as they should be.
///
/// # Errors
/// Where the mirror cannot be read.
pub async fn difference(mirror: &Mirror, commit: &str, dir: &Path) -> Result<Option<String>, GitError> {
    let (mirror, commit, dir) = (mirror.clone(), commit.to_owned(), dir.to_path_buf());
    blocking(move || {
        let repo = mirror.repository()?;
        let base = Base::read(&repo, &commit)
            .map_err(|error| GitError::while_doing("compare the checkout with its commit", error))?;
        let mut seen = BTreeSet::new();
        let walked = walk(&dir, &mut |entry| match entry {
            Ok(entry) if entry.path == b".git" => Ok(Descend::Past),
            Ok(entry) => {
                seen.insert(entry.path.clone());
                match compare(&repo, &base, entry) {
                    Ok(None) if base.entries.contains_key(&entry.path) => Ok(Descend::Past),
                    Ok(None) => Ok(Descend::Into),
                    Ok(Some(what)) => Err(format!("`{}` {what}", printable(&entry.path))),
                    Err(error) => Err(format!("`{}` cannot be read: {error}", printable(&entry.path))),
                }
            }
            Err((path, why)) => Err(format!("`{}` {why}", printable(path))),
        });
        if let Err(difference) = walked {
            return Ok(Some(difference));
        }
        let missing = base.entries.keys().find(|path| !seen.contains(*path));
        Ok(missing.map(|path| format!("`{}` is missing", printable(path))))
    })
    .await
}

/// What is wrong with an entry. A folder that the commit has is fine.
fn compare(repo: &Repository, base: &Base, entry: &Entry<'_>) -> io::Result<Option<&'static str>> {
    const CHANGED: Option<&str> = Some("is different");
    let Some((mode, id)) = base.entries.get(&entry.path).copied() else {
        let known = entry.kind == Kind::Folder && base.folders.contains(&entry.path);
        return Ok(if known { None } else { Some("is not in the commit") });
    };
    let same = match entry.kind {
        Kind::Folder => mode == SUBMODULE,
        Kind::Link => {
            let target = Oid::hash_object(ObjectType::Blob, &entry.target()?).map_err(io::Error::other)?;
            mode == LINK && target == id
        }
        Kind::File { size, executable } => {
            let kind = mode != LINK && mode != SUBMODULE && executable == (mode & 0o100 != 0);
            kind && (entry.hash()? == id
                || Pointer::at(repo, id).map_or(Ok(false), |pointer| pointer.is_of(size, entry.open()?))?)
        }
        Kind::Special(_) => false,
    };
    Ok(if same { None } else { CHANGED })
}
