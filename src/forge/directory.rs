//! Bare repositories in a folder as a forge: a pull request is a ref, a JSON file and a Markdown body.
//!
//! Invariant: whatever is interrupted, a number is given once, and a pull request is there as soon as its JSON file is,
//! never half of it.
//!
//! ```text
//! owner/name.git           bare repository; refs/pull/7/head is the head of number 7
//! owner/name.pulls/7.json  what it is; a person may set "state" to "closed" or "merged" (docs/directory-forge.md)
//! owner/name.pulls/7.md    its body
//! ```

mod record;
mod repository;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use url::Url;

use self::record::{Pulls, Record};
use self::repository::Bare;
use crate::forge::{
    Access, Forge, ForgeError, NewPullRequest, Placed, PullRequest, PullRequestState, Remote, RepositoryId,
    RepositoryInfo,
};
use crate::redact::Redacted;

/// A folder of bare repositories.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The forge in the folder `path`, which must exist.
    ///
    /// # Errors
    /// [`ForgeError::NotFound`] where there is no such folder.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, ForgeError> {
        let path = path.as_ref();
        let not_found = |why: String| ForgeError::NotFound {
            what: format!(
                "cannot use {} as a directory forge: {why}; make the folder, or mend `forge.path`",
                path.display()
            ),
        };
        // Absolute, because the address of a remote must not depend on where we were started.
        let root = path.canonicalize().map_err(|error| not_found(error.to_string()))?;
        if !root.is_dir() {
            return Err(not_found("it is not a folder".to_owned()));
        }
        Ok(Self { root })
    }

    /// Runs `work` on a repository, away from the threads that serve requests.
    async fn with<T: Send + 'static>(
        &self,
        id: &RepositoryId,
        work: impl FnOnce(&Bare, &Pulls) -> Result<T, ForgeError> + Send + 'static,
    ) -> Result<T, ForgeError> {
        let owner = self.root.join(id.owner());
        let (git, pulls) = (owner.join(format!("{}.git", id.name())), owner.join(format!("{}.pulls", id.name())));
        let id = id.clone();
        blocking(move || work(&Bare::open(id, &git)?, &Pulls::new(pulls))).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ForgeError> + Send + 'static,
) -> Result<T, ForgeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(ForgeError::Unavailable { what: format!("the work on the directory forge was cut short: {error}") })
    })
}

#[async_trait]
impl Forge for Directory {
    fn name(&self) -> &'static str {
        "directory"
    }

    async fn access(&self) -> Result<Access, ForgeError> {
        let root = self.root.clone();
        blocking(move || {
            // Asking the system says little about network file systems and containers; trying says all.
            tempfile::tempfile_in(&root).map_err(|error| ForgeError::Forbidden {
                what: format!("cannot write to {}: {error}; give this user the right to", root.display()),
            })?;
            Ok(Access { identity: format!("the folder {}", root.display()), scopes: None, expires: None })
        })
        .await
    }

    async fn repository(&self, id: &RepositoryId) -> Result<RepositoryInfo, ForgeError> {
        self.with(id, |bare, _| bare.info()).await
    }

    async fn remote(&self, id: &RepositoryId) -> Result<Remote, ForgeError> {
        self.with(id, |bare, _| Ok(Remote { url: file_url(bare.path())?, authorization: None })).await
    }

    async fn find_pull_request(&self, id: &RepositoryId, branch: &str) -> Result<Option<PullRequest>, ForgeError> {
        let branch = branch.to_owned();
        self.with(id, move |bare, pulls| {
            let _lock = pulls.lock()?;
            let newest = pulls.all()?.into_iter().filter(|record| record.branch == branch).max_by_key(|r| r.number);
            newest.map(|record| shown(bare, pulls, record)).transpose()
        })
        .await
    }

    async fn pull_request(&self, id: &RepositoryId, number: u64) -> Result<PullRequest, ForgeError> {
        self.with(id, move |bare, pulls| {
            let _lock = pulls.lock()?;
            shown(bare, pulls, pulls.get(number)?)
        })
        .await
    }

    async fn open_pull_request(&self, id: &RepositoryId, new: &NewPullRequest) -> Result<Placed, ForgeError> {
        let new = new.clone();
        self.with(id, move |bare, pulls| open(bare, pulls, &new)).await
    }

    async fn rewrite_pull_request(
        &self,
        id: &RepositoryId,
        number: u64,
        title: &Redacted<String>,
        body: &Redacted<String>,
    ) -> Result<(), ForgeError> {
        let (title, body) = (title.clone(), body.clone());
        self.with(id, move |_, pulls| {
            let _lock = pulls.lock()?;
            let record = Record { title: one_line(&title), ..pulls.get(number)? };
            pulls.write_body(number, body.as_str())?;
            pulls.write(&record)
        })
        .await
    }

    async fn decorate(&self, id: &RepositoryId, number: u64, labels: &[String], reviewers: &[String]) -> Vec<String> {
        if labels.is_empty() && reviewers.is_empty() {
            return Vec::new();
        }
        let (labels, reviewers) = (labels.to_vec(), reviewers.to_vec());
        let written = self.with(id, move |_, pulls| {
            let _lock = pulls.lock()?;
            let mut record = pulls.get(number)?;
            add_missing(&mut record.labels, labels);
            add_missing(&mut record.reviewers, reviewers);
            pulls.write(&record)
        });
        written.await.err().map(|error| error.to_string()).into_iter().collect()
    }
}

/// Opens a pull request, or finds the open one from the same branch.
fn open(bare: &Bare, pulls: &Pulls, new: &NewPullRequest) -> Result<Placed, ForgeError> {
    let _lock = pulls.lock()?;
    let there = |record: &Record| record.branch == new.branch && record.state == PullRequestState::Open;
    for record in pulls.all()?.into_iter().filter(there) {
        let pull_request = shown(bare, pulls, record)?;
        if pull_request.state == PullRequestState::Open {
            return Ok(Placed { pull_request, created: false });
        }
    }
    bare.check_mergeable(&new.branch, &new.base)?;
    let highest = pulls.highest_number()?.max(bare.highest_pull_number()?);
    let number = highest.checked_add(1).ok_or_else(|| ForgeError::Refused {
        what: format!("there is no number after {highest}: move that pull request's files and ref away"),
    })?;
    let record = Record {
        number,
        state: PullRequestState::Open,
        draft: true,
        title: one_line(&new.title),
        branch: new.branch.clone(),
        base: new.base.clone(),
        labels: Vec::new(),
        reviewers: Vec::new(),
        opened: crate::clock::now(),
    };
    // The JSON file comes last: with it the pull request exists. What a crash leaves before it only costs a number.
    pulls.write_body(number, new.body.as_str())?;
    bare.follow_branch(number, &new.branch)?;
    pulls.write(&record)?;
    Ok(Placed { pull_request: shown(bare, pulls, record)?, created: true })
}

/// A record as the trait shows it, under the lock. The ref of an open one follows its branch first; where the base holds
/// its head by then, a person has merged it with git, and it becomes what it is.
fn shown(bare: &Bare, pulls: &Pulls, mut record: Record) -> Result<PullRequest, ForgeError> {
    let head = match record.state {
        PullRequestState::Open => bare.follow_branch(record.number, &record.branch)?,
        PullRequestState::Closed | PullRequestState::Merged => bare.pull_head(record.number)?,
    };
    if record.state == PullRequestState::Open && bare.holds(&record.base, &head)? {
        record.state = PullRequestState::Merged;
        pulls.write(&record)?;
    }
    let url = file_url(&pulls.body_path(record.number))?;
    Ok(PullRequest { number: record.number, url, state: record.state, draft: record.draft, head })
}

fn one_line(title: &Redacted<String>) -> String {
    title.as_str().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn file_url(path: &Path) -> Result<String, ForgeError> {
    Url::from_file_path(path)
        .map(String::from)
        .map_err(|()| ForgeError::Refused { what: format!("{} is no absolute path", path.display()) })
}

fn add_missing(list: &mut Vec<String>, new: Vec<String>) {
    for item in new {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}
