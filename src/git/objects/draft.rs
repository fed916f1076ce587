//! A mirror together with a folder for objects that are thrown away later.
//!
//! Invariant: what is written here does not reach the mirror but by [`keep`], which copies only what one tree needs.

use std::fs;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, Oid, Repository};

use crate::git::GitError;
use crate::git::mirror::Mirror;

/// Reads the objects of a mirror and writes new ones into a folder of its own: what a setup command leaves behind may be
/// large and is nothing that a mirror has to keep.
#[derive(Clone, Debug)]
pub struct Draft {
    mirror: Mirror,
    folder: PathBuf,
}

impl Draft {
    /// A draft in `folder`, which is made where it is missing. It is not to lie in a folder that is read as a work tree.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn new(mirror: &Mirror, folder: &Path) -> Result<Self, GitError> {
        fs::create_dir_all(folder).map_err(|error| {
            GitError::while_doing(&format!("make a folder for objects in {}", folder.display()), error)
        })?;
        Ok(Self { mirror: mirror.clone(), folder: folder.to_path_buf() })
    }

    /// The mirror.
    pub(super) const fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The mirror's objects, opened so that what is written goes into the folder.
    pub(super) fn repository(&self) -> Result<Repository, GitError> {
        self.mirror.borrowed_by(&self.folder)
    }
}

/// Copies a tree and all that it needs from a draft into its mirror; what is below comes first, so that a mirror that has a
/// tree has it whole.
pub(super) fn keep(draft: &Repository, mirror: &Odb<'_>, tree: Oid) -> Result<(), git2::Error> {
    if mirror.exists(tree) {
        return Ok(());
    }
    let objects = draft.odb()?;
    for entry in &draft.find_tree(tree)? {
        match entry.kind() {
            Some(ObjectType::Tree) => keep(draft, mirror, entry.id())?,
            Some(ObjectType::Blob) if !mirror.exists(entry.id()) => {
                mirror.write(ObjectType::Blob, objects.read(entry.id())?.data())?;
            }
            // The commit of a submodule is in another repository.
            _ => {}
        }
    }
    mirror.write(ObjectType::Tree, objects.read(tree)?.data()).map(drop)
}
