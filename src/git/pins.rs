//! The commits that we made ourselves.
//!
//! Invariant: a commit is ours if and only if one of our refs holds it; nothing else writes below `refs/patchwright/`.

use git2::Oid;

use super::GitError;
use super::mirror::Mirror;

/// Whether a commit is one that we made and pinned.
///
/// # Errors
/// Where the mirror cannot be read.
pub async fn is_pinned(mirror: &Mirror, commit: &str) -> Result<bool, GitError> {
    let commit = commit.to_owned();
    mirror
        .read("look for a commit among ours", move |repo| {
            let wanted = Oid::from_str(&commit)?;
            for pin in repo.references_glob("refs/patchwright/*")? {
                if pin?.target() == Some(wanted) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
}
