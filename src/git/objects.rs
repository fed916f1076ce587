//! What an agent wrote, and what the history says, as objects of a mirror and as plain data.
//!
//! Invariant: only libgit2 and only the mirror: the agent's own `.git` is never opened, and its files are never handed to
//! a program. Each function is one piece of work off the runtime's threads.

mod content;
mod draft;
mod filters;
mod history;
mod ignores;
pub(super) mod lfs;
mod names;
mod snapshot;
mod trees;
mod verify;
mod work_tree;

pub use self::content::{Fit, find_paths, read_file};
pub use self::draft::Draft;
pub use self::filters::filtered;
pub use self::history::{BlamedLine, CommitSummary, blame, commit_info, log};
pub(crate) use self::names::is_dot_gitmodules;
pub use self::snapshot::{Rules, Snapshot, snapshot};
pub use self::trees::{Applied, CommitInfo, between, changes, commit, diff, pin};
pub use self::verify::difference;

use std::path::Path;

use git2::{ErrorCode, IndexEntry, IndexTime, ObjectType, Oid, Repository, Tree, TreeEntry};
use serde::{Deserialize, Serialize};

use super::GitError;

/// What happened to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content is different.
    Modified,
    /// It is gone.
    Deleted,
    /// Its content is the same, its mode (executable or not) or type (file or link) is not.
    ModeChanged,
}

/// One changed file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Path in the repository.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Whether it is not text, so that lines are not counted.
    pub binary: bool,
    /// Lines added.
    pub added: usize,
    /// Lines removed.
    pub removed: usize,
}

/// Why a work tree cannot be published: a sentence about one path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{path}` {why}")]
pub struct Refusal {
    /// The path, printable.
    pub path: String,
    /// The rest of the sentence: what is wrong with it and what to do.
    pub why: String,
}

/// Why there is no tree.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something in the work tree cannot be published; that is the agent's doing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something on our side failed.
    #[error(transparent)]
    Failed(#[from] GitError),
}

/// Most entries of one tree that are looked at. A tree of a few objects can have billions of entries ("git bomb").
const MAX_TREE_ENTRIES: usize = 2_000_000;

/// Visits everything in a tree with its path, folders too. Names need not be UTF-8.
pub(super) fn each_entry(
    repo: &Repository,
    tree: &Tree<'_>,
    visit: &mut dyn FnMut(Vec<u8>, &TreeEntry<'_>),
) -> Result<(), git2::Error> {
    let mut seen = 0;
    let mut open = vec![(Vec::new(), tree.clone())];
    while let Some((prefix, tree)) = open.pop() {
        for entry in &tree {
            seen += 1;
            if seen > MAX_TREE_ENTRIES {
                return Err(git2::Error::from_str(&format!("the tree has more than {MAX_TREE_ENTRIES} entries")));
            }
            let path = [prefix.as_slice(), entry.name_bytes()].concat();
            if entry.kind() == Some(ObjectType::Tree) {
                open.push(([path.as_slice(), b"/"].concat(), repo.find_tree(entry.id())?));
            }
            visit(path, &entry);
        }
    }
    Ok(())
}

/// The entry at a path of a commit or tree; a path that is not plain (`..`, absolute, empty) is not there.
fn entry_at(repo: &Repository, id: &str, path: &str) -> Result<Option<TreeEntry<'static>>, git2::Error> {
    let tree = tree_of(repo, id)?;
    let plain = !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    match plain.then(|| tree.get_path(Path::new(path))) {
        None => Ok(None),
        Some(Ok(entry)) => Ok(Some(entry)),
        Some(Err(error)) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => Ok(None),
        Some(Err(error)) => Err(error),
    }
}

/// The tree of a commit or tree id.
pub(super) fn tree_of<'repo>(repo: &'repo Repository, id: &str) -> Result<Tree<'repo>, git2::Error> {
    repo.find_object(Oid::from_str(id)?, None)?
        .peel(ObjectType::Tree)?
        .into_tree()
        .map_err(|object| git2::Error::from_str(&format!("{} is not a tree", object.id())))
}

/// An entry of an index that has no file behind it.
fn index_entry(path: &[u8], mode: u32, id: Oid) -> IndexEntry {
    let (ctime, mtime) = (IndexTime::new(0, 0), IndexTime::new(0, 0));
    let path = path.to_vec();
    IndexEntry {
        ctime,
        mtime,
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path,
    }
}
