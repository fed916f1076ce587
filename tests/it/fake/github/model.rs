//! What the fake GitHub knows: repositories, which are real ones, and their pull requests.
//!
//! Invariant: a branch or a commit is never made up; it is looked up in the bare repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use git2::{Oid, Repository};

#[derive(Debug, Default)]
pub(super) struct Model {
    /// By lower-case name, because GitHub does not mind the case.
    repositories: BTreeMap<String, Repo>,
    renamed: BTreeMap<String, String>,
    pulls: BTreeMap<u64, Pull>,
    pub(super) collaborators: BTreeSet<String>,
    /// What the token was not given.
    pub(super) withheld: BTreeSet<Permission>,
}

/// A permission of a fine-grained token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Permission {
    /// *Contents: write*.
    Contents,
    /// *Pull requests: write*.
    PullRequests,
}

#[derive(Clone, Debug)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) archived: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Open,
    Closed,
    Merged,
}

/// A pull request, for assertions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pull {
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) branch: String,
    pub(crate) base: String,
    pub(crate) state: State,
    pub(crate) draft: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) reviewers: Vec<String>,
    /// The commit at the head of its branch.
    pub(crate) head: String,
    pub(super) repository: u64,
}

impl Model {
    pub(super) fn add_repository(&mut self, name: &str, path: &Path) {
        let (owner, short) = name.split_once('/').expect("owner/name");
        let id = 1000 + u64::try_from(self.repositories.len()).expect("few repositories");
        let repo = Repo { id, owner: owner.to_owned(), name: short.to_owned(), path: path.to_owned(), archived: false };
        self.repositories.insert(name.to_lowercase(), repo);
    }

    pub(super) fn rename(&mut self, old: &str, new: &str) {
        let mut repo = self.repositories.remove(&old.to_lowercase()).expect("a repository");
        let (owner, short) = new.split_once('/').expect("owner/name");
        (repo.owner, repo.name) = (owner.to_owned(), short.to_owned());
        self.repositories.insert(new.to_lowercase(), repo);
        self.renamed.insert(old.to_lowercase(), new.to_owned());
    }

    pub(super) fn repository(&self, name: &str) -> Option<Repo> {
        self.repositories.get(&name.to_lowercase()).cloned()
    }

    pub(super) fn repository_mut(&mut self, name: &str) -> Option<&mut Repo> {
        self.repositories.get_mut(&name.to_lowercase())
    }

    pub(super) fn repository_by_id(&self, id: u64) -> Option<Repo> {
        self.repositories.values().find(|repo| repo.id == id).cloned()
    }

    /// The repository that once had this name.
    pub(super) fn renamed(&self, name: &str) -> Option<Repo> {
        self.repository(self.renamed.get(&name.to_lowercase())?)
    }

    pub(super) fn pulls_of(&mut self, name: &str) -> Vec<Pull> {
        let Some(repo) = self.repository(name) else { return Vec::new() };
        for pull in self.pulls.values_mut().filter(|pull| pull.repository == repo.id) {
            if let (State::Open, Some(tip)) = (pull.state, repo.tip(&pull.branch)) {
                pull.head = tip.to_string();
            }
        }
        self.pulls.values().filter(|pull| pull.repository == repo.id).cloned().collect()
    }

    pub(super) fn pull_mut(&mut self, number: u64) -> Option<&mut Pull> {
        self.pulls.get_mut(&number)
    }

    pub(super) fn add_pull(&mut self, pull: Pull) {
        self.pulls.insert(pull.number, pull);
    }

    pub(super) fn next_number(&self) -> u64 {
        self.pulls.keys().max().unwrap_or(&0) + 1
    }
}

impl Repo {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    pub(super) fn default_branch(&self) -> String {
        let git = Repository::open_bare(&self.path).expect("a bare repository");
        let head = git.find_reference("HEAD").expect("a HEAD");
        let target = head.symbolic_target().expect("UTF-8").expect("a branch").to_owned();
        target.trim_start_matches("refs/heads/").to_owned()
    }

    pub(super) fn tip(&self, branch: &str) -> Option<Oid> {
        let git = Repository::open_bare(&self.path).expect("a bare repository");
        git.refname_to_id(&format!("refs/heads/{branch}")).ok()
    }

    /// Whether the two have a commit in common.
    pub(super) fn related(&self, head: Oid, base: Oid) -> bool {
        Repository::open_bare(&self.path).expect("a bare repository").merge_base(head, base).is_ok()
    }

    /// How many commits `head` has that `base` has not.
    pub(super) fn ahead(&self, head: Oid, base: Oid) -> usize {
        let git = Repository::open_bare(&self.path).expect("a bare repository");
        git.graph_ahead_behind(head, base).expect("two commits").0
    }
}
