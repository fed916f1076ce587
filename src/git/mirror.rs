//! One bare copy per repository, ours alone, kept warm by incremental fetches.
//!
//! Invariant: `git` works on a mirror only under its lock and after its configuration was put back to ours, so that
//! whatever somebody wrote there has no effect; our own refs below `refs/patchwright/` are never pruned.

mod restore;

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{ErrorCode, ObjectType, Oid, Repository};
use tokio::time::Instant;

use super::remote::Address;
use super::{Git, GitError, Printed, blocking};
use crate::forge::{Remote, RepositoryId};

/// How often a lock that somebody else holds is tried again.
const LOCK_POLL: Duration = Duration::from_millis(25);

/// Most packs before they are put together.
const MOST_PACKS: usize = 50;
/// Most loose objects in one of 256 folders, as `gc.auto` counts them (6,700 in all).
const MOST_LOOSE: usize = 27;

/// A bare repository of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    id: RepositoryId,
    path: PathBuf,
}

/// The right to let `git` work on a mirror; ends when it is dropped and every `git` that was run under it is gone.
#[derive(Debug)]
pub(crate) struct Locked {
    file: File,
    path: PathBuf,
}

impl Locked {
    /// Runs `git` in the mirror, as [`Git::run`] does.
    pub(crate) async fn run(&self, git: &Git, args: &[&str], remote: Option<&Remote>) -> Result<Printed, GitError> {
        let held = self.file.try_clone().map_err(|error| GitError::while_doing("hand on a lock", error))?;
        git.run_holding(Some(held), &self.path, args, remote, &[]).await
    }
}

impl Mirror {
    /// The mirror of a repository in the folder of mirrors, created where it is missing.
    ///
    /// # Errors
    /// Where the folder cannot be made or written.
    pub fn open(root: &Path, id: &RepositoryId) -> Result<Self, GitError> {
        let path = root.join(id.owner()).join(format!("{}.git", id.name()));
        let doing = format!("make the mirror of {id} in {}", path.display());
        let failed = |error| GitError::while_doing(&doing, error);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        // Absolute, since checkouts name it as the place of their objects.
        let path = path.canonicalize().map_err(failed)?;
        if !path.join("HEAD").exists() {
            restore::create(&path).map_err(failed)?;
        }
        Ok(Self { id: id.clone(), path })
    }

    /// The repository that it mirrors.
    #[must_use]
    pub const fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// The folder of the bare repository.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings branches and tags to what the remote has now; transfers only what is new. Branches and tags that are gone
    /// there are removed, objects stay. May be called at any time, and again after it was killed.
    ///
    /// # Errors
    /// See [`GitError`]; `TimedOut` also where somebody else held the mirror all the time.
    pub async fn fetch(&self, git: &Git, remote: &Remote) -> Result<(), GitError> {
        let address = Address::of(remote)?;
        let locked = self.lock(git).await?;
        let args = [
            "--git-dir=.",
            "fetch",
            "--quiet",
            "--prune",
            "--force",
            "--no-tags",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--",
            address.as_str(),
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ];
        let fetched = locked.run(git, &args, Some(remote)).await?.succeeded(&format!("fetch {}", self.id));
        fetched.map_err(|error| error.in_mirror(&self.path))?;
        self.pack(git, &locked).await
    }

    /// Puts many small packs and loose objects into few; which of them a ref still reaches does not matter.
    async fn pack(&self, git: &Git, locked: &Locked) -> Result<(), GitError> {
        let objects = self.path.join("objects");
        let many = blocking(move || Ok::<_, GitError>(is_scattered(&objects))).await?;
        if !many {
            return Ok(());
        }
        let args = ["--git-dir=.", "repack", "--quiet", "-d", "--geometric=2"];
        match locked.run(git, &args, None).await.and_then(|printed| printed.succeeded("pack the mirror")) {
            Err(GitError::Cancelled) => Err(GitError::Cancelled),
            // The mirror is as good as before.
            Err(error) => {
                tracing::warn!(mirror = %self.path.display(), %error, "a mirror could not be packed");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// The commit at the head of a branch.
    ///
    /// # Errors
    /// Where the mirror cannot be read.
    pub async fn head(&self, branch: &str) -> Result<Option<String>, GitError> {
        let name = format!("refs/heads/{branch}");
        self.read("read a branch", move |repo| found(repo.refname_to_id(&name)).map(|id| id.map(|id| id.to_string())))
            .await
    }

    /// The commit that a commit id (whole or at least 7 digits), a tag or a branch means, tried in this order.
    /// Revision syntax (`HEAD~2`, `@{1}`, `:/text`) means nothing here, since the text may come from outside.
    ///
    /// # Errors
    /// Where the mirror cannot be read.
    pub async fn resolve(&self, rev: &str) -> Result<Option<String>, GitError> {
        let rev = rev.to_owned();
        self.read("find a commit", move |repo| {
            let mut object = None;
            if rev.len() >= 7 && rev.len() <= 40 && rev.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                object = found(repo.find_object_by_prefix(&rev, None))?;
            }
            for kind in ["tags", "heads"] {
                let name = format!("refs/{kind}/{rev}");
                if object.is_none() && git2::Reference::is_valid_name(&name) {
                    object = found(repo.find_reference(&name).and_then(|it| it.peel(ObjectType::Any)))?;
                }
            }
            let commit = object.and_then(|object| object.peel(ObjectType::Commit).ok());
            Ok(commit.map(|commit| commit.id().to_string()))
        })
        .await
    }

    /// Whether the history of commit `descendant` holds commit `ancestor`; a commit is its own ancestor.
    ///
    /// # Errors
    /// Where one of them is not in the mirror.
    pub async fn is_ancestor(&self, ancestor: &str, descendant: &str) -> Result<bool, GitError> {
        let (ancestor, descendant) = (ancestor.to_owned(), descendant.to_owned());
        self.read("compare two commits", move |repo| {
            let (ancestor, descendant) = (Oid::from_str(&ancestor)?, Oid::from_str(&descendant)?);
            Ok(ancestor == descendant || repo.graph_descendant_of(descendant, ancestor)?)
        })
        .await
    }

    /// Waits until nobody else lets `git` work on the mirror, then puts its configuration back to ours and removes what
    /// a killed `git` left behind.
    pub(crate) async fn lock(&self, git: &Git) -> Result<Locked, GitError> {
        let doing = format!("lock the mirror of {}", self.id);
        let path = self.path.with_extension("lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| GitError::while_doing(&doing, error))?;
        let deadline = Instant::now() + git.timeout();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::select! {
                        () = tokio::time::sleep(LOCK_POLL) => {}
                        () = git.cancel().cancelled() => return Err(GitError::Cancelled),
                    }
                }
                Err(TryLockError::WouldBlock) => {
                    let what = format!("cannot {doing}: it was in use for {:?}", git.timeout());
                    return Err(GitError::TimedOut { what });
                }
                Err(TryLockError::Error(error)) => return Err(GitError::while_doing(&doing, error)),
            }
        }
        let (path, id) = (self.path.clone(), self.id.clone());
        blocking(move || {
            restore::restore(&path)
                .map_err(|error| GitError::while_doing(&format!("put the mirror of {id} in order"), error))
        })
        .await?;
        Ok(Locked { file, path: self.path.clone() })
    }

    /// Runs work of libgit2 on the mirror, opened afresh, off the runtime's threads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Repository) -> Result<T, git2::Error> + Send + 'static,
    ) -> Result<T, GitError> {
        let mirror = self.clone();
        blocking(move || {
            let doing = || format!("{what} in the mirror of {}", mirror.id);
            let repo = mirror.repository()?;
            let read = work(&repo).map_err(|error| match error.code() {
                ErrorCode::NotFound => GitError::NotFound { what: format!("cannot {}: {error}", doing()) },
                _ => GitError::while_doing(&doing(), error),
            });
            read.map_err(|error| error.in_mirror(&mirror.path))
        })
        .await
    }

    /// The mirror, opened with libgit2. It blocks: only within [`blocking`].
    pub(crate) fn repository(&self) -> Result<Repository, GitError> {
        Repository::open_bare(&self.path)
            .map_err(|error| GitError::while_doing(&format!("open the mirror of {}", self.id), error))
    }

    /// A repository in a folder of its own that has the mirror's objects and keeps what is written to itself. It blocks.
    pub(crate) fn borrowed_by(&self, folder: &Path) -> Result<Repository, GitError> {
        let failed = |error| GitError::while_doing(&format!("make a repository in {}", folder.display()), error);
        restore::restore(folder).and_then(|()| restore::borrow(folder, &self.path.join("objects"))).map_err(failed)?;
        Repository::open_bare(folder)
            .map_err(|error| GitError::while_doing(&format!("open the repository {}", folder.display()), error))
    }
}

/// Whether a folder of objects holds so many packs or loose objects that reading it takes long. Ids are evenly spread, so
/// that one of 256 folders tells of all.
fn is_scattered(objects: &Path) -> bool {
    let count = |folder: &str, ending: &str| {
        let entries = std::fs::read_dir(objects.join(folder)).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    count("pack", ".pack") > MOST_PACKS || count("17", "") > MOST_LOOSE
}

/// `None` for what is not there, or cannot be named.
fn found<T>(result: Result<T, git2::Error>) -> Result<Option<T>, git2::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Ambiguous) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
