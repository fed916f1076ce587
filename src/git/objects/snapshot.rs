//! Turns the work tree that an agent leaves behind into a tree.
//!
//! Invariant: the tree holds what `git add -A` would have taken if no filter were configured, less what tools leave behind;
//! anything that cannot be published safely is refused by name before it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use git2::{Index, ObjectType, Oid, Repository};

use super::ignores::Ignores;
use super::lfs::Pointer;
use super::names::{is_litter, printable, refuse_link, refuse_name};
use super::trees::changes_between;
use super::work_tree::{Descend, Entry, Kind, Seen, as_path, walk};
use super::{Change, Draft, Refusal, SnapshotError, each_entry, index_entry, tree_of};
use crate::git::{GitError, blocking};

const FILE: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;
pub(super) const LINK: u32 = 0o120_000;
pub(super) const SUBMODULE: u32 = 0o160_000;

/// Most entries of a work tree that are looked at; more is an attack or a mistake.
const MAX_ENTRIES: usize = 2_000_000;

/// Limits on what is taken from a work tree, counted over the files that differ from the tree compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Most bytes of one file.
    pub max_file: u64,
    /// Most files.
    pub max_files: usize,
    /// Most bytes in all.
    pub max_total: u64,
    /// Leave out what cannot be published, rather than refuse the work tree.
    pub lenient: bool,
    /// Paths that are left out whatever is there; [`Snapshot::left_out`] of an earlier snapshot.
    pub leave_out: BTreeSet<Vec<u8>>,
}

impl Rules {
    /// Rules for what an agent did: anything that cannot be published refuses the whole.
    #[must_use]
    pub const fn strict(max_file: u64, max_files: usize, max_total: u64) -> Self {
        Self { max_file, max_files, max_total, lenient: false, leave_out: BTreeSet::new() }
    }

    /// Rules for what a setup command left behind, which is never published: it is only taken to tell it from what the
    /// agent does later.
    #[must_use]
    pub const fn for_setup() -> Self {
        let leave_out = BTreeSet::new();
        Self { max_file: 16 << 20, max_files: 20_000, max_total: 512 << 20, lenient: true, leave_out }
    }
}

/// A work tree as an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Id of the tree.
    pub tree: String,
    /// How it differs from the tree compared with.
    pub changes: Vec<Change>,
    /// What was left out because it cannot be published, by path; only with lenient rules.
    pub left_out: BTreeSet<Vec<u8>>,
    /// What was passed over because it is ignored or left behind by tools, by path. Nothing in a folder that is here.
    pub passed_over: BTreeSet<Vec<u8>>,
}

impl Snapshot {
    /// What was passed over here and not in an earlier snapshot, in words; empty where there is nothing.
    #[must_use]
    pub fn passed_over_since(&self, earlier: &Self) -> Vec<String> {
        self.passed_over.difference(&earlier.passed_over).map(|path| printable(path)).collect()
    }
}

/// Reads the work tree `dir` and writes what differs from `against` (a commit or tree of the draft) into the draft.
/// `.git` at its top is not looked at, whatever has become of it. For the agent's work, `against` is the tree that the
/// setup left behind, so that limits and refusals are about the agent's work alone.
///
/// # Errors
/// `Refused` with the path and a sentence where something cannot be published; `Failed` where we could not work.
pub async fn snapshot(draft: &Draft, against: &str, dir: &Path, rules: &Rules) -> Result<Snapshot, SnapshotError> {
    let (draft, against, dir, rules) = (draft.clone(), against.to_owned(), dir.to_path_buf(), rules.clone());
    blocking(move || {
        // Two handles: the one for ignore rules gets a work tree, the one for objects must not have one.
        let (repo, for_rules) = (draft.repository()?, draft.repository()?);
        let failed = |error| GitError::while_doing("compare the work tree with the base", error);
        let base = Base::read(&repo, &against).map_err(failed)?;
        let ignores = Ignores::new(&for_rules, draft.folder())
            .map_err(|error| GitError::while_doing("read ignore rules", error))?;
        let mut reader = Reader { repo: &repo, base: &base, ignores, rules: &rules, taken: Taken::default() };
        walk(&dir, &mut |seen| reader.visit(seen))?;
        let taken = reader.taken;
        let tree = write_tree(&repo, &against, &base, &taken).map_err(failed)?;
        let changes = changes_between(&repo, &against, &tree).map_err(failed)?;
        // Files that are gone count too; those that are there were counted on the way.
        if let Some(change) = changes.get(rules.max_files).filter(|_| !rules.lenient) {
            return Err(too_many(change.path.as_bytes(), rules.max_files).into());
        }
        Ok(Snapshot { tree, changes, left_out: taken.left_out, passed_over: taken.passed_over })
    })
    .await
}

/// The tree compared with.
pub(super) struct Base {
    pub(super) entries: BTreeMap<Vec<u8>, (u32, Oid)>,
    pub(super) folders: BTreeSet<Vec<u8>>,
}

impl Base {
    pub(super) fn read(repo: &Repository, id: &str) -> Result<Self, git2::Error> {
        let mut base = Self { entries: BTreeMap::new(), folders: BTreeSet::new() };
        each_entry(repo, &tree_of(repo, id)?, &mut |path, entry| {
            if entry.kind() == Some(ObjectType::Tree) {
                base.folders.insert(path);
            } else {
                base.entries.insert(path, (u32::try_from(entry.filemode()).unwrap_or(FILE), entry.id()));
            }
        })?;
        Ok(base)
    }
}

/// What was taken so far.
#[derive(Default)]
struct Taken {
    entries: usize,
    bytes: u64,
    /// Paths of the base that are still there, changed or not.
    seen: BTreeSet<Vec<u8>>,
    written: BTreeMap<Vec<u8>, (u32, Oid)>,
    left_out: BTreeSet<Vec<u8>>,
    passed_over: BTreeSet<Vec<u8>>,
}

struct Reader<'a> {
    repo: &'a Repository,
    base: &'a Base,
    ignores: Ignores<'a>,
    rules: &'a Rules,
    taken: Taken,
}

impl Reader<'_> {
    fn visit(&mut self, seen: Seen<'_>) -> Result<Descend, SnapshotError> {
        let entry = match seen {
            Ok(entry) => entry,
            Err((path, why)) => return self.refuse(path, Refusal { path: printable(path), why }),
        };
        self.taken.entries += 1;
        if self.taken.entries > MAX_ENTRIES {
            return Err(refusal(entry, format!("is the entry number {MAX_ENTRIES}; there are too many files")));
        }
        if entry.path == b".git" {
            return Ok(Descend::Past);
        }
        if entry.name() == b".gitignore" {
            self.ignores.learn(entry).map_err(|error| GitError::while_doing("read ignore rules", error))?;
        }
        match self.take(entry) {
            Err(SnapshotError::Refused(refused)) => self.refuse(&entry.path, refused),
            result => result,
        }
    }

    fn refuse(&mut self, path: &[u8], refused: Refusal) -> Result<Descend, SnapshotError> {
        if !self.rules.lenient {
            return Err(refused.into());
        }
        self.taken.left_out.insert(path.to_vec());
        Ok(Descend::Past)
    }

    fn take(&mut self, entry: &Entry<'_>) -> Result<Descend, SnapshotError> {
        let tracked = self.base.entries.get(&entry.path).copied();
        if tracked.is_none() && !self.base.folders.contains(&entry.path) {
            if self.rules.leave_out.contains(&entry.path) {
                return Ok(Descend::Past);
            }
            if self.is_passed_over(entry)? {
                self.taken.passed_over.insert(entry.path.clone());
                return Ok(Descend::Past);
            }
        }
        if tracked.is_none() {
            let Ok(name) = str::from_utf8(entry.name()) else {
                return Err(refusal(entry, "has a name that is not UTF-8"));
            };
            if let Some(why) = refuse_name(name) {
                return Err(refusal(entry, why));
            }
        }
        let now = match entry.kind {
            Kind::Folder if matches!(tracked, Some((SUBMODULE, _))) => {
                self.taken.seen.insert(entry.path.clone());
                return Ok(Descend::Past);
            }
            Kind::Folder if entry.holds(".git") => {
                let why = "is a repository of its own inside the repository; remove its `.git`, or ignore the folder";
                return Err(refusal(entry, why));
            }
            Kind::Folder => return Ok(Descend::Into),
            _ if matches!(tracked, Some((SUBMODULE, _))) => {
                return Err(refusal(entry, "was a submodule and is now something else, which cannot be published"));
            }
            Kind::Special(what) => return Err(refusal(entry, format!("is a {what}, which git cannot keep"))),
            Kind::Link => self.take_link(entry, tracked)?,
            Kind::File { size, executable } => self.take_file(entry, tracked, size, executable)?,
        };
        if tracked.is_some() {
            self.taken.seen.insert(entry.path.clone());
        }
        if tracked != Some(now) {
            if self.taken.written.len() >= self.rules.max_files {
                return Err(too_many(&entry.path, self.rules.max_files).into());
            }
            self.taken.written.insert(entry.path.clone(), now);
        }
        Ok(Descend::Into)
    }

    /// Whether an entry that the base does not have is none of the change's business.
    fn is_passed_over(&self, entry: &Entry<'_>) -> Result<bool, SnapshotError> {
        if str::from_utf8(entry.name()).is_ok_and(is_litter) {
            return Ok(true);
        }
        let ignored = self.ignores.matches(entry).map_err(|error| GitError::while_doing("read ignore rules", error))?;
        Ok(ignored)
    }

    fn take_link(&self, entry: &Entry<'_>, tracked: Option<(u32, Oid)>) -> Result<(u32, Oid), SnapshotError> {
        let target = entry.target().map_err(|error| refusal(entry, format!("cannot be read: {error}")))?;
        let id = Oid::hash_object(ObjectType::Blob, &target).map_err(write_failed)?;
        if tracked == Some((LINK, id)) {
            return Ok((LINK, id));
        }
        let (Ok(path), Ok(text)) = (str::from_utf8(&entry.path), str::from_utf8(&target)) else {
            return Err(refusal(entry, "is a link whose name or target is not UTF-8"));
        };
        if let Some(why) = refuse_link(path, text) {
            return Err(refusal(entry, why));
        }
        Ok((LINK, self.repo.blob(&target).map_err(write_failed)?))
    }

    fn take_file(
        &mut self,
        entry: &Entry<'_>,
        tracked: Option<(u32, Oid)>,
        size: u64,
        executable: bool,
    ) -> Result<(u32, Oid), SnapshotError> {
        let mode = if executable { EXECUTABLE } else { FILE };
        let unreadable = |error| refusal(entry, format!("cannot be read: {error}"));
        let max = self.rules.max_file;
        let too_large = || refusal(entry, format!("has {size} bytes, more than the limit of {max} (`git.max_file`)"));
        if let Some((_, id)) = tracked {
            // A large file of the base may stay as it is; whether it did is seen by its size first.
            let base_size = self.repo.odb().and_then(|odb| odb.read_header(id)).map(|(size, _)| size as u64);
            if base_size.is_ok_and(|base_size| base_size == size) && entry.hash().map_err(unreadable)? == id {
                return Ok((mode, id));
            }
            if let Some(pointer) = Pointer::at(self.repo, id) {
                return if pointer.is_of(size, entry.open().map_err(unreadable)?).map_err(unreadable)? {
                    Ok((mode, id))
                } else {
                    Err(refusal(entry, "is kept in Git LFS and was changed, which cannot be published"))
                };
            }
        }
        if size > max {
            return Err(too_large());
        }
        let content = entry.read(max).map_err(unreadable)?.ok_or_else(too_large)?;
        self.taken.bytes = self.taken.bytes.saturating_add(content.len() as u64);
        if self.taken.bytes > self.rules.max_total {
            let max = self.rules.max_total;
            return Err(refusal(entry, format!("brings the change to more than {max} bytes")));
        }
        Ok((mode, self.repo.blob(&content).map_err(write_failed)?))
    }
}

/// Writes the tree: that of the base, less what is gone, plus what was taken.
fn write_tree(repo: &Repository, against: &str, base: &Base, taken: &Taken) -> Result<String, git2::Error> {
    let mut index = Index::new()?;
    index.read_tree(&tree_of(repo, against)?)?;
    for (path, (mode, _)) in &base.entries {
        if *mode != SUBMODULE && !taken.seen.contains(path) && !taken.is_below_left_out(path) {
            index.remove(&as_path(path), 0)?;
        }
    }
    for (path, (mode, id)) in &taken.written {
        index.add(&index_entry(path, *mode, *id))?;
    }
    Ok(index.write_tree_to(repo)?.to_string())
}

impl Taken {
    /// Whether a path, or a folder that it is in, was left out.
    fn is_below_left_out(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        ends.filter_map(|end| path.get(..end)).any(|part| self.left_out.contains(part))
    }
}

fn too_many(path: &[u8], max: usize) -> Refusal {
    let why = format!("is one of more than {max} changed files (`git.max_files`); ignore what is generated");
    Refusal { path: printable(path), why }
}

fn refusal(entry: &Entry<'_>, why: impl Into<String>) -> SnapshotError {
    Refusal { path: printable(&entry.path), why: why.into() }.into()
}

fn write_failed(error: git2::Error) -> SnapshotError {
    GitError::while_doing("keep the content of a file", error).into()
}
