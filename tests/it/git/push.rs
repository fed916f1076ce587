//! Pushing with compare-and-swap.

use patchwright::git::GitError;
use patchwright::git::mirror::Mirror;
use patchwright::git::objects::{CommitInfo, commit};
use patchwright::git::push::{may_push, push, remote_tip};

use super::fixture::{Repo, Side};

const BRANCH: &str = "patchwright/web-1f";

/// A repository, its mirror, and two commits of ours that were not pushed.
async fn prepared() -> (Repo, Side, Mirror, [String; 2]) {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let tree = git2::Repository::open_bare(mirror.path()).unwrap();
    let tree = tree.find_commit(git2::Oid::from_str(&head).unwrap()).unwrap().tree_id().to_string();
    let mut ours = Vec::new();
    for message in ["one", "two"] {
        ours.push(commit(&mirror, &tree, &head, &info(message)).await.unwrap());
    }
    let ours = <[String; 2]>::try_from(ours).unwrap();
    (repo, side, mirror, ours)
}

fn info(message: &str) -> CommitInfo {
    CommitInfo {
        author_name: "Patchwright".to_owned(),
        author_email: "patchwright@example.test".to_owned(),
        message: message.to_owned(),
        at: patchwright::clock::from_millis(1_750_000_000_000),
    }
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_made_and_the_same_push_again_succeeds() {
    let (repo, side, mirror, [one, _]) = prepared().await;
    assert_eq!(remote_tip(&side.git, &repo.remote(), BRANCH).await.unwrap(), None);
    push(&side.git, &mirror, &repo.remote(), &one, BRANCH, None).await.unwrap();
    push(&side.git, &mirror, &repo.remote(), &one, BRANCH, None).await.unwrap();
    assert_eq!(remote_tip(&side.git, &repo.remote(), BRANCH).await.unwrap(), Some(one));
}

#[tokio::test]
async fn a_branch_is_replaced_only_from_where_it_was_seen() {
    let (repo, side, mirror, [one, two]) = prepared().await;
    push(&side.git, &mirror, &repo.remote(), &one, BRANCH, None).await.unwrap();
    for expected in [None, Some(two.as_str())] {
        let error = push(&side.git, &mirror, &repo.remote(), &two, BRANCH, expected).await.unwrap_err();
        assert!(matches!(error, GitError::Stale { .. }), "{error}");
    }
    assert_eq!(repo.tip(BRANCH).as_deref(), Some(one.as_str()));
    push(&side.git, &mirror, &repo.remote(), &two, BRANCH, Some(&one)).await.unwrap();
    assert_eq!(repo.tip(BRANCH), Some(two));
}

#[tokio::test]
async fn a_branch_that_a_person_removed_is_not_made_again() {
    let (repo, side, mirror, [one, two]) = prepared().await;
    push(&side.git, &mirror, &repo.remote(), &one, BRANCH, None).await.unwrap();
    repo.delete_branch(BRANCH);
    let error = push(&side.git, &mirror, &repo.remote(), &two, BRANCH, Some(&one)).await.unwrap_err();
    assert!(matches!(error, GitError::Stale { .. }), "{error}");
    assert_eq!(repo.tip(BRANCH), None);
}

#[tokio::test]
async fn what_the_forge_says_when_it_refuses_is_passed_on() {
    let (repo, side, mirror, [one, _]) = prepared().await;
    repo.hook("pre-receive", "echo 'error: GH013: Repository rule violations found' >&2; exit 1");
    let error = push(&side.git, &mirror, &repo.remote(), &one, BRANCH, None).await.unwrap_err();
    assert!(matches!(&error, GitError::Rejected { what } if what.contains("GH013")), "{error}");
}

#[tokio::test]
async fn no_other_branch_or_tag_is_touched() {
    let (repo, side, mirror, [one, _]) = prepared().await;
    let main = repo.tip("main");
    push(&side.git, &mirror, &repo.remote(), &one, BRANCH, None).await.unwrap();
    let refs = git2::Repository::open_bare(repo.path()).unwrap().references().unwrap().count();
    assert_eq!((repo.tip("main"), refs), (main, 2));
}

#[tokio::test]
async fn the_same_commit_made_again_has_the_same_id() {
    let (_repo, _side, mirror, [one, two]) = prepared().await;
    let repository = git2::Repository::open_bare(mirror.path()).unwrap();
    let made = repository.find_commit(git2::Oid::from_str(&one).unwrap()).unwrap();
    let (tree, parent) = (made.tree_id().to_string(), made.parent_id(0).unwrap().to_string());
    assert_eq!(commit(&mirror, &tree, &parent, &info("one")).await.unwrap(), one);
    assert_ne!(one, two);
}

#[tokio::test]
async fn whether_a_push_would_be_taken_is_asked_without_one() {
    let (repo, side, _, _) = prepared().await;
    let before = repo.tip("main");
    may_push(&side.git, &repo.remote()).await.unwrap();
    assert_eq!(repo.tip("main"), before);
    may_push(&side.git, &Repo::new().remote()).await.unwrap();
    let nowhere = patchwright::forge::Remote { url: "file:///nonexistent/x.git".to_owned(), authorization: None };
    let error = may_push(&side.git, &nowhere).await.unwrap_err();
    assert!(matches!(error, GitError::NotFound { .. }), "{error}");
}
