//! Files that go through a filter (Git LFS, git-crypt) when they are committed.
//!
//! Invariant: the attributes are those of the base, read from its objects; no filter is ever run.

use std::fs;
use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Repository};
use tempfile::TempDir;

use super::{Change, ChangeKind, Draft, each_entry, tree_of};
use crate::git::{GitError, blocking};

/// Largest `.gitattributes` that has an effect; git's own limit is 100 MiB.
const MAX_ATTRIBUTES: usize = 1 << 20;

/// The first changed file that has to go through a filter, and the name of that filter: its bytes as they are would be
/// published raw, such as a password that git-crypt keeps encrypted.
///
/// # Errors
/// Where the base cannot be read.
pub async fn filtered(draft: &Draft, base: &str, changes: &[Change]) -> Result<Option<(String, String)>, GitError> {
    let (draft, base) = (draft.clone(), base.to_owned());
    let gone = |change: &&Change| change.kind != ChangeKind::Deleted;
    let paths: Vec<String> = changes.iter().filter(gone).map(|change| change.path.clone()).collect();
    blocking(move || {
        let failed = |error: &dyn std::fmt::Display| GitError::while_doing("read the attributes of files", error);
        let repo = draft.repository()?;
        // Opening the draft clears its folder.
        let folder = TempDir::new_in(draft.folder()).map_err(|error| failed(&error))?;
        copy_attributes(&repo, &base, folder.path()).map_err(|error| failed(&error))?;
        repo.set_workdir(folder.path(), false).map_err(|error| failed(&error))?;
        for path in paths {
            let flags = AttrCheckFlags::FILE_THEN_INDEX | AttrCheckFlags::NO_SYSTEM;
            let value = repo.get_attr(Path::new(&path), "filter", flags).map_err(|error| failed(&error))?;
            if let AttrValue::String(filter) = AttrValue::from_string(value) {
                return Ok(Some((path, filter.to_owned())));
            }
        }
        Ok(None)
    })
    .await
}

fn copy_attributes(repo: &Repository, base: &str, folder: &Path) -> Result<(), git2::Error> {
    let mut found = Vec::new();
    each_entry(repo, &tree_of(repo, base)?, &mut |path, entry| {
        if entry.name_bytes() == b".gitattributes" {
            found.push((path, entry.id()));
        }
    })?;
    for (path, id) in found {
        let Ok(blob) = repo.find_blob(id) else { continue };
        if blob.size() <= MAX_ATTRIBUTES {
            let copy = folder.join(super::work_tree::as_path(&path));
            let written =
                copy.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(copy, blob.content()));
            written.map_err(|error| git2::Error::from_str(&error.to_string()))?;
        }
    }
    Ok(())
}
