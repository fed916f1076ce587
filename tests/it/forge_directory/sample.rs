//! A bare repository to open pull requests in.
//!
//! Invariant: its commits are real, and each is different from every other.

use std::path::{Path, PathBuf};

use git2::{Repository, RepositoryInitOptions, Signature};
use patchwright::forge::{NewPullRequest, RepositoryId};
use patchwright::redact::Redactor;
use tempfile::TempDir;

/// `acme/web.git` in a folder of its own, with one commit on `main`.
#[derive(Debug)]
pub(crate) struct Sample {
    root: TempDir,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().expect("a temporary folder");
        let sample = Self { root };
        let options = &mut RepositoryInitOptions::new();
        options.bare(true).mkpath(true).initial_head("main");
        Repository::init_opts(sample.bare(), options).expect("a new repository");
        sample.commit("main", "main");
        sample
    }

    /// The folder that is a directory forge.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The bare repository.
    pub(crate) fn bare(&self) -> PathBuf {
        self.root.path().join("acme").join("web.git")
    }

    /// The folder of its pull requests on the directory forge.
    pub(crate) fn pulls(&self) -> PathBuf {
        self.root.path().join("acme").join("web.pulls")
    }

    pub(crate) fn git(&self) -> Repository {
        Repository::open_bare(self.bare()).expect("the repository")
    }

    /// Adds a commit to `branch`, which begins at `from` where it does not exist, and returns its id.
    pub(crate) fn commit(&self, branch: &str, from: &str) -> String {
        let git = self.git();
        let tip = |name: &str| git.refname_to_id(&format!("refs/heads/{name}")).ok();
        let parent = tip(branch).or_else(|| tip(from)).map(|id| git.find_commit(id).expect("a commit"));
        let parents: Vec<_> = parent.iter().collect();
        let mut tree =
            git.treebuilder(parent.as_ref().map(|p| p.tree().expect("a tree")).as_ref()).expect("a tree builder");
        let text = format!("{branch} {}", parent.as_ref().map_or(String::new(), |parent| parent.id().to_string()));
        tree.insert("file.txt", git.blob(text.as_bytes()).expect("a blob"), 0o100_644).expect("an entry");
        let tree = git.find_tree(tree.write().expect("a tree")).expect("a tree");
        let who = Signature::now("Ada", "ada@example.com").expect("a signature");
        let id = git.commit(None, &who, &who, &text, &tree, &parents).expect("a commit");
        git.reference(&format!("refs/heads/{branch}"), id, true, "a test").expect("a ref");
        id.to_string()
    }

    /// Makes `branch` point to where `at` is.
    pub(crate) fn branch(&self, branch: &str, at: &str) {
        let git = self.git();
        let id = git.refname_to_id(&format!("refs/heads/{at}")).expect("a branch");
        git.reference(&format!("refs/heads/{branch}"), id, true, "a test").expect("a ref");
    }

    pub(crate) fn delete_branch(&self, branch: &str) {
        self.git().find_reference(&format!("refs/heads/{branch}")).expect("a branch").delete().expect("deleted");
    }
}

pub(crate) fn web() -> RepositoryId {
    "acme/web".parse().expect("a sound name")
}

/// A pull request from `branch` to `main`.
pub(crate) fn from(branch: &str) -> NewPullRequest {
    let redactor = Redactor::default();
    NewPullRequest {
        branch: branch.to_owned(),
        base: "main".to_owned(),
        title: redactor.text("Fix the total of an empty cart"),
        body: redactor.text("## What happened\n\nThe cart was empty.\n"),
        ready_without_drafts: false,
    }
}
