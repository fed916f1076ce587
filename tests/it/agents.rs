//! Agents that misbehave, through the real program: each ends in one named outcome, and none leaves anything behind.
//!
//! Invariant: what an agent does is done by a real process in a real checkout, and what it got away with is looked up
//! outside: in the repository, in `/proc`, in the workspace folder.

mod credentials;
mod ending;
mod result_file;
mod tests_run;
mod tree;
mod view;

use patchwright::job::Job;
use patchwright::outcome::Outcome;

use crate::program::{Described, FIXER, Service};

/// Works on one issue that must end without a pull request; answers the job's sentence.
async fn refused(described: Described) -> String {
    let service = described.start().await;
    let job = service.work("1").await;
    let sentence = job.outcome.as_ref().unwrap().to_string();
    assert!(service.pull_requests().is_empty(), "{sentence}");
    assert_eq!(service.repo.tip("patchwright/sentry-1"), None, "{sentence}");
    sentence
}

/// Works on one issue that must end with one pull request.
async fn published(described: Described) -> (Service, Job) {
    let service = described.start().await;
    let job = service.work("1").await;
    let opened = matches!(&job.outcome, Some(Outcome::Opened { pull_requests }) if pull_requests.len() == 1);
    assert!(opened, "{:?}\n{}", job.outcome, service.history(job.id).await);
    assert_eq!(service.pull_requests().len(), 1);
    (service, job)
}

/// The published commit's files and their contents.
fn published_files(service: &Service) -> Vec<(String, String)> {
    let repository = git2::Repository::open_bare(service.repo.path()).unwrap();
    let tip = service.repo.tip("patchwright/sentry-1").unwrap();
    let tree = repository.find_commit(git2::Oid::from_str(&tip).unwrap()).unwrap().tree().unwrap();
    let mut files = Vec::new();
    tree.walk(git2::TreeWalkMode::PreOrder, |folder, entry| {
        if let Some(blob) = entry.to_object(&repository).unwrap().as_blob() {
            let text = String::from_utf8_lossy(blob.content()).into_owned();
            files.push((format!("{folder}{}", entry.name().unwrap()), text));
        }
        git2::TreeWalkResult::Ok
    })
    .unwrap();
    files
}

/// The good agent after some mischief.
fn fixer_after(mischief: &str) -> Described {
    Described::with_agent(&format!("{mischief}\n{FIXER}"))
}

/// The good agent before some mischief.
fn fixer_before(mischief: &str) -> Described {
    Described::with_agent(&format!("{FIXER}\n{mischief}"))
}
