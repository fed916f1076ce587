//! The bare repository of a directory forge.
//!
//! Invariant: only refs below `refs/pull/` are written, and only through git2; no program runs.

use std::path::{Path, PathBuf};

use git2::{ErrorClass, ErrorCode, Oid, Repository};

use crate::forge::{ForgeError, RepositoryId, RepositoryInfo};

/// An open bare repository.
pub(super) struct Bare {
    id: RepositoryId,
    path: PathBuf,
    git: Repository,
}

impl Bare {
    /// Opens it.
    pub(super) fn open(id: RepositoryId, path: &Path) -> Result<Self, ForgeError> {
        match Repository::open_bare(path) {
            Ok(git) => Ok(Self { id, path: path.to_owned(), git }),
            Err(error) if error.code() == ErrorCode::NotFound => Err(ForgeError::NotFound {
                what: format!("there is no repository {id}: make it with `git init --bare {}`", path.display()),
            }),
            Err(error) if error.code() == ErrorCode::Owner => Err(ForgeError::Forbidden {
                what: format!("{} belongs to another user: change its owner to the one we run as", path.display()),
            }),
            Err(error) => Err(failed(&id, "open it", &error)),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn info(&self) -> Result<RepositoryInfo, ForgeError> {
        let head = self.git.find_reference("HEAD").map_err(|error| failed(&self.id, "read its HEAD", &error))?;
        let target = head.symbolic_target().ok().flatten();
        let default_branch = target.and_then(|name| name.strip_prefix("refs/heads/")).ok_or_else(|| {
            let what = format!("the HEAD of {} is no branch: set it with `git symbolic-ref HEAD`", self.path.display());
            ForgeError::Refused { what }
        })?;
        let writable = rustix::fs::access(self.path.join("objects"), rustix::fs::Access::WRITE_OK).is_ok();
        Ok(RepositoryInfo {
            id: self.id.clone(),
            default_branch: default_branch.to_owned(),
            can_push: Some(writable),
            archived: false,
        })
    }

    /// Checks that the branch has something that the base does not have.
    pub(super) fn check_mergeable(&self, branch: &str, base: &str) -> Result<(), ForgeError> {
        let id = &self.id;
        let tip = |name: &str| {
            self.branch_tip(name)?.ok_or_else(|| ForgeError::Refused {
                what: format!("cannot open a pull request in {id}: it has no branch `{name}`; push it first"),
            })
        };
        let (head, base_tip) = (tip(branch)?, tip(base)?);
        match self.git.merge_base(head, base_tip) {
            Ok(shared) if shared == head => Err(ForgeError::NothingToMerge {
                what: format!("`{branch}` of {id} holds no commit that `{base}` does not have: nothing to merge"),
            }),
            Ok(_) => Ok(()),
            Err(error) if error.code() == ErrorCode::NotFound => Err(ForgeError::Refused {
                what: format!("cannot open a pull request in {id}: `{branch}` has no history in common with `{base}`"),
            }),
            // libgit2 cannot read every old commit that git can. A person sees what there is to merge.
            Err(error) if is_unreadable(&error) => Ok(()),
            Err(error) => Err(failed(id, "compare its branches", &error)),
        }
    }

    /// Whether the branch has the commit; `false` where there is no such branch.
    pub(super) fn holds(&self, branch: &str, commit: &str) -> Result<bool, ForgeError> {
        let Some(tip) = self.branch_tip(branch)? else { return Ok(false) };
        let look = |commit: Oid| Ok(tip == commit || self.git.graph_descendant_of(tip, commit)?);
        match Oid::from_str(commit).and_then(look) {
            // As above; a merge that cannot be seen is one that a person has to write into the record.
            Err(error) if is_unreadable(&error) => Ok(false),
            looked => looked.map_err(|error| failed(&self.id, "look for a merge", &error)),
        }
    }

    /// Makes the ref of a pull request point to its branch, and says to what; it stays where it is when the branch was
    /// deleted.
    pub(super) fn follow_branch(&self, number: u64, branch: &str) -> Result<String, ForgeError> {
        let Some(tip) = self.branch_tip(branch)? else { return self.pull_head(number) };
        let name = pull_ref(number);
        if self.target(&name)? != Some(tip) {
            let message = format!("pull request {number} follows {branch}");
            match self.git.reference(&name, tip, true, &message) {
                Ok(_) => {}
                // Somebody else is just doing the same.
                Err(error) if error.code() == ErrorCode::Locked => {}
                Err(error) => return Err(failed(&self.id, &format!("move {name}"), &error)),
            }
        }
        Ok(tip.to_string())
    }

    /// The commit at the head of a pull request.
    pub(super) fn pull_head(&self, number: u64) -> Result<String, ForgeError> {
        self.target(&pull_ref(number))?.map(|id| id.to_string()).ok_or_else(|| ForgeError::Refused {
            what: format!(
                "pull request {number} of {} has lost its head: restore {} in {}, or move its .json and .md away",
                self.id,
                pull_ref(number),
                self.path.display()
            ),
        })
    }

    /// The highest number that has a ref.
    pub(super) fn highest_pull_number(&self) -> Result<u64, ForgeError> {
        let unread = |error: git2::Error| failed(&self.id, "list its refs", &error);
        let mut highest = 0;
        for reference in self.git.references_glob("refs/pull/*/head").map_err(unread)? {
            let reference = reference.map_err(unread)?;
            let number = reference.name().ok().and_then(|name| name.split('/').nth(2)?.parse().ok());
            highest = highest.max(number.unwrap_or(0));
        }
        Ok(highest)
    }

    fn branch_tip(&self, branch: &str) -> Result<Option<Oid>, ForgeError> {
        self.target(&format!("refs/heads/{branch}"))
    }

    fn target(&self, name: &str) -> Result<Option<Oid>, ForgeError> {
        match self.git.refname_to_id(name) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) if error.code() == ErrorCode::InvalidSpec => {
                Err(ForgeError::Refused { what: format!("`{name}` is no name that a ref of {} can have", self.id) })
            }
            Err(error) => Err(failed(&self.id, &format!("read {name}"), &error)),
        }
    }
}

/// Whether libgit2 stumbled over an old commit that git can read.
fn is_unreadable(error: &git2::Error) -> bool {
    matches!(error.class(), ErrorClass::Invalid | ErrorClass::Object)
}

fn pull_ref(number: u64) -> String {
    format!("refs/pull/{number}/head")
}

fn failed(id: &RepositoryId, what: &str, error: &git2::Error) -> ForgeError {
    let why = error.message();
    if error.class() == ErrorClass::Config {
        // Waiting does not mend it.
        let remedy = "mend the git configuration of the user that Patchwright runs as (~/.gitconfig)";
        return ForgeError::Refused { what: format!("repository {id}: cannot {what}: {why}; {remedy}") };
    }
    ForgeError::Unavailable { what: format!("repository {id}: cannot {what}: {why}; check it with `git fsck`") }
}
