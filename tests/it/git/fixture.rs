//! Builds real repositories and the things around them.
//!
//! Invariant: the same calls make the same commit ids; everything is gone when the value is dropped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::{Index, IndexEntry, IndexTime, Oid, Repository, Signature, Time};
use patchwright::forge::{Remote, RepositoryId};
use patchwright::git::Git;
use patchwright::git::checkout::{Extras, checkout};
use patchwright::git::mirror::Mirror;
use patchwright::git::objects::Draft;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A bare repository with a history on `main`, to be used as a remote.
pub(crate) struct Repo {
    _dir: Option<TempDir>,
    path: PathBuf,
}

impl Repo {
    /// An empty one in a folder of its own.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("acme").join("web.git");
        Self { _dir: Some(dir), ..Self::at(&path) }
    }

    /// An empty one at a path, which stays when the value is dropped.
    pub(crate) fn at(path: &Path) -> Self {
        let mut options = git2::RepositoryInitOptions::new();
        Repository::init_opts(path, options.bare(true).mkpath(true).initial_head("main")).unwrap();
        Self { _dir: None, path: path.to_path_buf() }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How to transfer it.
    pub(crate) fn remote(&self) -> Remote {
        Remote { url: format!("file://{}", self.path.display()), authorization: None }
    }

    /// Commits files to `main`, on top of what is there, and returns the commit's id.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        let entries: Vec<_> = files.iter().map(|(path, content)| (*path, 0o100_644, content.as_bytes())).collect();
        self.commit_entries("main", message, &entries)
    }

    /// Commits entries with their modes to a branch, which is made from `main` where it does not exist. A mode of 0
    /// removes the path; for mode 0o160000 (submodule) the content is the commit's id.
    pub(crate) fn commit_entries(&self, branch: &str, message: &str, entries: &[(&str, u32, &[u8])]) -> String {
        let repo = Repository::open_bare(&self.path).unwrap();
        let name = format!("refs/heads/{branch}");
        let parent = repo.refname_to_id(&name).or_else(|_| repo.refname_to_id("refs/heads/main")).ok();
        let parent = parent.map(|id| repo.find_commit(id).unwrap());
        let mut index = Index::new().unwrap();
        if let Some(parent) = &parent {
            index.read_tree(&parent.tree().unwrap()).unwrap();
        }
        for (path, mode, content) in entries {
            match mode {
                0 => index.remove(Path::new(path), 0).unwrap(),
                0o160_000 => {
                    let id = Oid::from_str(str::from_utf8(content).unwrap()).unwrap();
                    index.add(&entry(path, *mode, id)).unwrap();
                }
                _ => index.add(&entry(path, *mode, repo.blob(content).unwrap())).unwrap(),
            }
        }
        let tree = repo.find_tree(index.write_tree_to(&repo).unwrap()).unwrap();
        self.commit_tree(&repo, &name, message, &tree, parent.as_ref())
    }

    /// Puts a branch somewhere.
    pub(crate) fn branch(&self, branch: &str, sha: &str) {
        self.reference(&format!("refs/heads/{branch}"), sha);
    }

    /// Puts a light-weight tag somewhere.
    pub(crate) fn tag(&self, tag: &str, sha: &str) {
        self.reference(&format!("refs/tags/{tag}"), sha);
    }

    /// Makes an annotated tag.
    pub(crate) fn annotated_tag(&self, tag: &str, sha: &str) {
        let repo = Repository::open_bare(&self.path).unwrap();
        let object = repo.find_object(Oid::from_str(sha).unwrap(), None).unwrap();
        repo.tag(tag, &object, &signature(0), "a release", false).unwrap();
    }

    /// Removes a branch.
    pub(crate) fn delete_branch(&self, branch: &str) {
        let repo = Repository::open_bare(&self.path).unwrap();
        repo.find_reference(&format!("refs/heads/{branch}")).unwrap().delete().unwrap();
    }

    /// The head of a branch.
    pub(crate) fn tip(&self, branch: &str) -> Option<String> {
        let repo = Repository::open_bare(&self.path).unwrap();
        repo.refname_to_id(&format!("refs/heads/{branch}")).ok().map(|id| id.to_string())
    }

    /// Writes a hook that runs on the remote's side.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        write_program(&self.path.join("hooks").join(name), script);
    }

    fn reference(&self, name: &str, sha: &str) {
        let repo = Repository::open_bare(&self.path).unwrap();
        repo.reference(name, Oid::from_str(sha).unwrap(), true, "").unwrap();
    }

    fn commit_tree(
        &self,
        repo: &Repository,
        name: &str,
        message: &str,
        tree: &git2::Tree<'_>,
        parent: Option<&git2::Commit<'_>>,
    ) -> String {
        // One second after its parent, so that histories have an order.
        let who = signature(parent.map_or(0, |parent| parent.time().seconds() - EPOCH + 1));
        let parents: Vec<_> = parent.into_iter().collect();
        let id = repo.commit(None, &who, &who, message, tree, &parents).unwrap();
        repo.reference(name, id, true, "").unwrap();
        id.to_string()
    }
}

const EPOCH: i64 = 1_700_000_000;

fn signature(after: i64) -> Signature<'static> {
    Signature::new("Ada Example", "ada@example.test", &Time::new(EPOCH + after, 0)).unwrap()
}

fn entry(path: &str, mode: u32, id: Oid) -> IndexEntry {
    let (ctime, mtime) = (IndexTime::new(0, 0), IndexTime::new(0, 0));
    let path = path.as_bytes().to_vec();
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

/// Our side: a folder for mirrors and work, and a `git` to work with.
pub(crate) struct Side {
    dir: TempDir,
    pub(crate) git: Git,
    pub(crate) cancel: CancellationToken,
}

impl Side {
    /// One that uses the `git` of this machine.
    pub(crate) fn new() -> Self {
        Self::with_path(&std::env::var("PATH").unwrap())
    }

    /// One that looks for `git` on another PATH.
    pub(crate) fn with_path(path_env: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        let cancel = CancellationToken::new();
        let git = Git::new(path_env, home, supervisor(), Duration::from_secs(60), cancel.clone());
        Self { dir, git, cancel }
    }

    /// A `git` that first runs a piece of shell (`$REAL` is the real program), by way of a wrapper on its PATH.
    pub(crate) fn with_wrapper(script: &str) -> Self {
        let path = std::env::var("PATH").unwrap();
        let real = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|git| git.is_file()).unwrap();
        let side = Self::new();
        let bin = side.folder("bin");
        write_program(&bin.join("git"), &format!("REAL={}\nDIR={}\n{script}", real.display(), side.path().display()));
        let path = format!("{}:{path}", bin.display());
        let home = side.dir.path().join("home");
        Self { git: Git::new(&path, home, supervisor(), Duration::from_secs(60), side.cancel.clone()), ..side }
    }

    /// Everything on our side.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A folder on our side, made where it is missing.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The mirror of `acme/web`, not fetched.
    pub(crate) fn mirror(&self) -> Mirror {
        Mirror::open(&self.folder("mirrors"), &id("acme/web")).unwrap()
    }

    /// The mirror of `acme/web`, fetched from a repository.
    pub(crate) async fn mirror_of(&self, repo: &Repo) -> Mirror {
        let mirror = self.mirror();
        mirror.fetch(&self.git, &repo.remote()).await.unwrap();
        mirror
    }

    /// A draft on a mirror.
    pub(crate) fn draft(&self, mirror: &Mirror) -> Draft {
        Draft::new(mirror, &self.folder("draft")).unwrap()
    }

    /// A checkout of a commit in a folder that is named.
    pub(crate) async fn checkout(&self, mirror: &Mirror, commit: &str, name: &str) -> PathBuf {
        let dest = self.dir.path().join(name);
        checkout(&self.git, mirror, commit, &dest, &Extras::default()).await.unwrap();
        dest
    }
}

/// The program that ends `git` for us.
pub(crate) fn supervisor() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_patchwright"))
}

/// The name of a repository.
pub(crate) fn id(text: &str) -> RepositoryId {
    text.parse().unwrap()
}

/// Writes a shell script that can be run.
pub(crate) fn write_program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the `git` of this machine as an agent would, in its own checkout.
pub(crate) fn agent_git(dir: &Path, args: &[&str]) {
    let status = std::process::Command::new("git")
        .args(["-c", "user.name=agent", "-c", "user.email=agent@example.test"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "git {args:?}");
}
