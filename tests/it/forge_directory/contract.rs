//! What every forge promises, run against each of them.
//!
//! Invariant: nothing here knows which forge it talks to.

use patchwright::forge::{Forge, ForgeError, NewPullRequest, PullRequestState};
use patchwright::redact::Redacted;

use super::sample::{Sample, from, web};

/// Runs the contract on a forge that serves `sample` as `acme/web`; `close` closes a pull request as a person would.
pub(crate) async fn is_kept_by(forge: &dyn Forge, sample: &Sample, close: impl Fn(u64)) {
    repositories_are_described(forge).await;
    what_cannot_be_opened_is_refused_by_its_cause(forge, sample).await;
    let number = opening_twice_makes_one_draft(forge, sample).await;
    the_head_follows_the_branch(forge, sample, number).await;
    other_branches_get_other_numbers(forge, sample, number).await;
    a_closed_one_is_found_and_not_reopened(forge, number, close).await;
    labels_are_added_without_complaint(forge, number).await;
    another_text_takes_the_place_of_the_first(forge, sample).await;
}

async fn another_text_takes_the_place_of_the_first(forge: &dyn Forge, sample: &Sample) {
    sample.commit("fix/text", "main");
    let opened = forge.open_pull_request(&web(), &from("fix/text")).await.expect("opened").pull_request;
    let (title, body) = (Redacted::ours("Another title"), Redacted::ours("Another body"));
    forge.rewrite_pull_request(&web(), opened.number, &title, &body).await.expect("rewritten");
    assert_eq!(forge.pull_request(&web(), opened.number).await.expect("read"), opened, "more than the text changed");
    let error = forge.rewrite_pull_request(&web(), 4711, &title, &body).await.expect_err("no such pull request");
    assert!(matches!(error, ForgeError::NotFound { .. }) && error.to_string().contains("4711"), "{error}");
}

async fn repositories_are_described(forge: &dyn Forge) {
    let info = forge.repository(&web()).await.expect("a repository");
    assert_eq!((info.id, info.default_branch.as_str(), info.archived), (web(), "main", false));
    assert_eq!(info.can_push, Some(true));
    let missing = "acme/none".parse().expect("a sound name");
    let error = forge.repository(&missing).await.expect_err("no such repository");
    assert!(matches!(error, ForgeError::NotFound { .. }) && error.to_string().contains("acme/none"), "{error}");
    let error = forge.find_pull_request(&missing, "fix/1").await.expect_err("no such repository");
    assert!(matches!(error, ForgeError::NotFound { .. }), "{error}");
    assert!(!forge.access().await.expect("access").identity.is_empty());
}

async fn what_cannot_be_opened_is_refused_by_its_cause(forge: &dyn Forge, sample: &Sample) {
    assert_eq!(forge.find_pull_request(&web(), "fix/1").await.expect("a look"), None);
    let error = forge.open_pull_request(&web(), &from("fix/1")).await.expect_err("no such branch");
    assert!(matches!(&error, ForgeError::Refused { what } if what.contains("`fix/1`")), "{error}");
    sample.branch("same", "main");
    let error = forge.open_pull_request(&web(), &from("same")).await.expect_err("no commits");
    assert!(matches!(error, ForgeError::NothingToMerge { .. }), "{error}");
    sample.commit("fix/1", "main");
    let no_base = NewPullRequest { base: "gone".to_owned(), ..from("fix/1") };
    let error = forge.open_pull_request(&web(), &no_base).await.expect_err("no such base");
    assert!(matches!(&error, ForgeError::Refused { what } if what.contains("`gone`")), "{error}");
    sample.commit("orphan", "nothing-there");
    let error = forge.open_pull_request(&web(), &from("orphan")).await.expect_err("unrelated");
    assert!(matches!(&error, ForgeError::Refused { what } if what.contains("no history in common")), "{error}");
    let error = forge.pull_request(&web(), 4711).await.expect_err("no such pull request");
    assert!(matches!(error, ForgeError::NotFound { .. }), "{error}");
    assert_eq!(forge.find_pull_request(&web(), "fix/1").await.expect("a look"), None, "a refusal left something");
}

async fn opening_twice_makes_one_draft(forge: &dyn Forge, sample: &Sample) -> u64 {
    let tip = sample.commit("fix/1", "main");
    let placed = forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened");
    let opened = placed.pull_request;
    assert!(placed.created && opened.draft);
    assert_eq!((opened.state, &opened.head), (PullRequestState::Open, &tip));
    let again = forge.open_pull_request(&web(), &from("fix/1")).await.expect("found");
    assert!(!again.created, "it may have another text");
    let found = forge.find_pull_request(&web(), "fix/1").await.expect("a look");
    let read = forge.pull_request(&web(), opened.number).await.expect("read");
    assert_eq!((&again.pull_request, found.as_ref(), &read), (&opened, Some(&opened), &opened));
    opened.number
}

async fn the_head_follows_the_branch(forge: &dyn Forge, sample: &Sample, number: u64) {
    let tip = sample.commit("fix/1", "main");
    assert_eq!(forge.pull_request(&web(), number).await.expect("read").head, tip);
}

async fn other_branches_get_other_numbers(forge: &dyn Forge, sample: &Sample, number: u64) {
    sample.commit("fix/10", "main");
    let other = forge.open_pull_request(&web(), &from("fix/10")).await.expect("opened").pull_request;
    assert_ne!(other.number, number);
    assert_eq!(forge.find_pull_request(&web(), "fix/1").await.expect("a look").map(|pull| pull.number), Some(number));
}

async fn a_closed_one_is_found_and_not_reopened(forge: &dyn Forge, number: u64, close: impl Fn(u64)) {
    close(number);
    let found = forge.find_pull_request(&web(), "fix/1").await.expect("a look").expect("the closed one");
    assert_eq!((found.number, found.state), (number, PullRequestState::Closed));
    let second = forge.open_pull_request(&web(), &from("fix/1")).await.expect("opened").pull_request;
    assert_ne!(second.number, number);
    assert_eq!(forge.pull_request(&web(), number).await.expect("read").state, PullRequestState::Closed);
    let newest = forge.find_pull_request(&web(), "fix/1").await.expect("a look");
    assert_eq!(newest, Some(second), "the newest is found");
}

async fn labels_are_added_without_complaint(forge: &dyn Forge, number: u64) {
    let complaints = forge.decorate(&web(), number, &["patchwright".to_owned()], &[]).await;
    assert_eq!(complaints, Vec::<String>::new());
    let complaints = forge.decorate(&web(), 4711, &["patchwright".to_owned()], &[]).await;
    assert!(matches!(complaints.as_slice(), [one] if one.contains("4711")), "{complaints:?}");
}
