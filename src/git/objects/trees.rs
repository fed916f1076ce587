//! Makes trees and commits, and compares them.
//!
//! Invariant: a commit's id depends only on what is passed in; nothing here changes a branch or a tag of the mirror.

use git2::{
    Delta, Diff, DiffFormat, DiffOptions, ErrorCode, IndexEntry, MergeOptions, Oid, Patch, Repository, Signature, Time,
};

use super::draft::{Draft, keep};
use super::names::printable;
use super::{Change, ChangeKind, Refusal, SnapshotError, index_entry, tree_of};
use crate::clock::Moment;
use crate::git::mirror::Mirror;
use crate::git::{GitError, blocking};

/// Files larger than this are not compared line by line.
const MAX_COMPARED: i64 = 4 << 20;

/// Who a commit is by, and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitInfo {
    /// Author and committer.
    pub author_name: String,
    /// Their address.
    pub author_email: String,
    /// The whole message.
    pub message: String,
    /// When, to the second.
    pub at: Moment,
}

/// A difference applied to another tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Id of the tree.
    pub tree: String,
    /// Paths that differ but are not in the tree compared onto: what the setup made and the agent changed or removed.
    pub left_out: Vec<String>,
}

/// Applies the difference between two trees onto `base`: what was there before the agent began, such as the products
/// of the setup command, is not part of the result. All three are commits or trees of the mirror.
///
/// # Errors
/// `Refused` where setup and agent changed the same lines of a file.
pub async fn between(draft: &Draft, before: &str, after: &str, base: &str) -> Result<Applied, SnapshotError> {
    let (draft, before, after, base) = (draft.clone(), before.to_owned(), after.to_owned(), base.to_owned());
    blocking(move || {
        let repo = draft.repository()?;
        let applied = apply(&repo, &before, &after, &base)
            .map_err(|error| GitError::while_doing("take the setup's changes out of the agent's", error))??;
        let mirror = draft.mirror().repository()?;
        mirror
            .odb()
            .and_then(|mirror| keep(&repo, &mirror, Oid::from_str(&applied.tree)?))
            .map_err(|error| GitError::while_doing("write the change into the mirror", error))?;
        Ok(applied)
    })
    .await
}

fn apply(repo: &Repository, before: &str, after: &str, base: &str) -> Result<Result<Applied, Refusal>, git2::Error> {
    let (before, after, base) = (tree_of(repo, before)?, tree_of(repo, after)?, tree_of(repo, base)?);
    let mut index = repo.merge_trees(&before, &base, &after, Some(MergeOptions::new().find_renames(false)))?;
    let mut left_out = Vec::new();
    let conflicts = index.conflicts()?.collect::<Result<Vec<_>, _>>()?;
    for conflict in conflicts {
        let Some(path) = [&conflict.our, &conflict.their, &conflict.ancestor].into_iter().flatten().next().map(path_of)
        else {
            continue;
        };
        index.conflict_remove(&super::work_tree::as_path(&path))?;
        match (conflict.ancestor, conflict.our, conflict.their) {
            // The setup made it and the agent changed it: still the setup's.
            (Some(_), None, Some(_)) => left_out.push(printable(&path)),
            // The setup changed it and the agent removed it, or the other way round: what the agent did counts.
            (Some(_), Some(_), None) => {}
            (None, _, Some(theirs)) => index.add(&index_entry(&path, theirs.mode, theirs.id))?,
            _ => {
                let why = "was changed in the same lines by the setup command and by the agent, so that the agent's \
                           part cannot be told apart; let the setup command leave tracked files alone";
                return Ok(Err(Refusal { path: printable(&path), why: why.to_owned() }));
            }
        }
    }
    Ok(Ok(Applied { tree: index.write_tree_to(repo)?.to_string(), left_out }))
}

fn path_of(entry: &IndexEntry) -> Vec<u8> {
    entry.path.clone()
}

/// Commits a tree on a parent; the same arguments give the same id.
///
/// # Errors
/// Where tree or parent are not in the mirror, or the author's name or address is empty or has `<` or `>` in it.
pub async fn commit(mirror: &Mirror, tree: &str, parent: &str, info: &CommitInfo) -> Result<String, GitError> {
    let (tree, parent, info) = (tree.to_owned(), parent.to_owned(), info.clone());
    mirror
        .read("commit the change", move |repo| {
            let who = Signature::new(&info.author_name, &info.author_email, &Time::new(info.at.timestamp(), 0))?;
            let parent = repo.find_commit(Oid::from_str(&parent)?)?;
            let tree = repo.find_tree(Oid::from_str(&tree)?)?;
            Ok(repo.commit(None, &who, &who, &info.message, &tree, &[&parent])?.to_string())
        })
        .await
}

/// Keeps a commit from being forgotten, under a name below `refs/patchwright/`, such as
/// `refs/patchwright/job-1/attempt-1`.
///
/// # Errors
/// Where the name is not sound, is not below `refs/patchwright/`, or keeps another commit.
pub async fn pin(mirror: &Mirror, sha: &str, name: &str) -> Result<(), GitError> {
    if !name.starts_with("refs/patchwright/") || !git2::Reference::is_valid_name(name) {
        return Err(GitError::Other { what: format!("cannot pin a commit as `{name}`: not below refs/patchwright/") });
    }
    let (sha, name) = (sha.to_owned(), name.to_owned());
    mirror
        .read("pin a commit", move |repo| {
            let commit = Oid::from_str(&sha)?;
            match repo.reference(&name, commit, false, "") {
                Err(_) if repo.refname_to_id(&name) == Ok(commit) => Ok(()),
                pinned => pinned.map(drop),
            }
        })
        .await
}

/// The difference between two commits or trees as a unified diff, cut after `max_bytes` with a line that says so.
///
/// # Errors
/// Where one of them is not in the mirror.
pub async fn diff(mirror: &Mirror, a: &str, b: &str, max_bytes: usize) -> Result<String, GitError> {
    let (a, b) = (a.to_owned(), b.to_owned());
    mirror
        .read("show a difference", move |repo| {
            let mut text = Vec::new();
            let mut cut = false;
            let printed = compare(repo, &a, &b)?.print(DiffFormat::Patch, |_, _, line| {
                let origin = line.origin();
                let mark = matches!(origin, '+' | '-' | ' ').then_some(origin as u8);
                cut = text.len() + line.content().len() + 1 > max_bytes;
                if !cut {
                    text.extend(mark);
                    text.extend_from_slice(line.content());
                }
                !cut
            });
            match printed {
                Err(error) if !(cut && error.code() == ErrorCode::User) => return Err(error),
                _ => {}
            }
            let mut text = String::from_utf8_lossy(&text).into_owned();
            if cut {
                text.push_str(&format!("… the difference is longer than {max_bytes} bytes and was cut here\n"));
            }
            Ok(text)
        })
        .await
}

/// The files in which two commits or trees differ.
///
/// # Errors
/// Where one of them is not in the mirror.
pub async fn changes(mirror: &Mirror, a: &str, b: &str) -> Result<Vec<Change>, GitError> {
    let (a, b) = (a.to_owned(), b.to_owned());
    mirror.read("list changed files", move |repo| changes_between(repo, &a, &b)).await
}

pub(super) fn changes_between(repo: &Repository, a: &str, b: &str) -> Result<Vec<Change>, git2::Error> {
    let diff = compare(repo, a, b)?;
    let mut changes = Vec::new();
    for (n, delta) in diff.deltas().enumerate() {
        let (old, new) = (delta.old_file(), delta.new_file());
        let kind = match delta.status() {
            Delta::Added => ChangeKind::Added,
            Delta::Deleted => ChangeKind::Deleted,
            _ if old.id() == new.id() => ChangeKind::ModeChanged,
            _ => ChangeKind::Modified,
        };
        let path = new.path_bytes().or(old.path_bytes()).unwrap_or_default();
        // Without a patch the content was not compared: a binary file, or only the mode differs.
        let patch = Patch::from_diff(&diff, n)?;
        let (_, added, removed) = patch.as_ref().map_or(Ok((0, 0, 0)), Patch::line_stats)?;
        let binary = kind != ChangeKind::ModeChanged
            && patch.is_none_or(|patch| patch.delta().old_file().is_binary() || patch.delta().new_file().is_binary());
        changes.push(Change { path: String::from_utf8_lossy(path).into_owned(), kind, binary, added, removed });
    }
    Ok(changes)
}

fn compare<'repo>(repo: &'repo Repository, a: &str, b: &str) -> Result<Diff<'repo>, git2::Error> {
    let mut options = DiffOptions::new();
    options.max_size(MAX_COMPARED).ignore_submodules(false).include_typechange(true).id_abbrev(12);
    repo.diff_tree_to_tree(Some(&tree_of(repo, a)?), Some(&tree_of(repo, b)?), Some(&mut options))
}
