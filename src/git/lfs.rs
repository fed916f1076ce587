//! Fills in the files of a checkout that are kept in Git LFS.
//!
//! Invariant: `git-lfs` only fetches, and no filter is configured; what is put in the place of a pointer has its size and
//! SHA-256. Where this succeeds, no pointer is left.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use git2::{ObjectType, Repository};

use super::objects::lfs::Pointer;
use super::objects::{each_entry, tree_of};
use super::remote::Address;
use super::{Git, GitError, blocking};
use crate::forge::Remote;
use crate::git::mirror::Mirror;

/// Replaces the pointer files of a fresh checkout of `commit` in `dest` by what they stand for.
pub(super) async fn fill_in(
    git: &Git,
    mirror: &Mirror,
    commit: &str,
    remote: &Remote,
    dest: &Path,
) -> Result<(), GitError> {
    if !git.has_lfs().await? {
        let what = "cannot fetch LFS files: git-lfs is not installed; install it, or set `lfs = false` for the project";
        return Err(GitError::Unsupported { what: what.to_owned() });
    }
    // The address is given here so that `.lfsconfig` of the repository cannot name another one.
    let url = format!("{}/info/lfs", Address::of(remote)?.as_str().trim_end_matches('/'));
    let config = [("lfs.url", url.as_str()), ("remote.origin.url", remote.url.as_str()), ("lfs.locksverify", "false")];
    // Neither can it leave files out.
    let args = ["lfs", "fetch", "--include=", "--exclude=", "origin", commit];
    git.run(dest, &args, Some(remote), &config).await?.succeeded("fetch LFS files")?;
    let (mirror, commit, dest) = (mirror.clone(), commit.to_owned(), dest.to_path_buf());
    blocking(move || {
        let repo = mirror.repository()?;
        let pointers =
            pointers(&repo, &commit).map_err(|error| GitError::while_doing("find the LFS files of a commit", error))?;
        for (path, executable, pointer) in pointers {
            place(&dest, &path, executable, &pointer)
                .map_err(|error| GitError::while_doing(&format!("fill in the LFS file {path}"), error))?;
        }
        // Everything is there twice now.
        remove(&dest.join(".git/lfs")).map_err(|error| GitError::while_doing("remove fetched LFS files", error))
    })
    .await
}

/// The pointer files of a commit, as git-lfs finds them: by their content.
fn pointers(repo: &Repository, commit: &str) -> Result<Vec<(String, bool, Pointer)>, git2::Error> {
    let mut found = Vec::new();
    each_entry(repo, &tree_of(repo, commit)?, &mut |path, entry| {
        let is_file = entry.kind() == Some(ObjectType::Blob) && entry.filemode() != 0o120_000;
        if let Some(pointer) = is_file.then(|| Pointer::at(repo, entry.id())).flatten()
            && let Ok(path) = String::from_utf8(path)
        {
            found.push((path, entry.filemode() & 0o100 != 0, pointer));
        }
    })?;
    Ok(found)
}

fn place(checkout: &Path, path: &str, executable: bool, pointer: &Pointer) -> io::Result<()> {
    let id = pointer.sha256();
    let stored = checkout.join(".git/lfs/objects").join(id.get(..2).unwrap_or_default());
    let stored = stored.join(id.get(2..4).unwrap_or_default()).join(id);
    let mut content =
        File::open(&stored).map_err(|error| io::Error::new(error.kind(), format!("the LFS server has no {id}")))?;
    if !pointer.is_of(content.metadata()?.len(), &content)? {
        return Err(io::Error::other(format!("the LFS server gave something else than {id}")));
    }
    io::Seek::rewind(&mut content)?;
    let mut file = tempfile::NamedTempFile::new_in(checkout.join(".git"))?;
    io::copy(&mut content, &mut file)?;
    file.as_file().set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    file.persist(checkout.join(path)).map(drop).map_err(|error| error.error)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
