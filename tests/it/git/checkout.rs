//! Throw-away checkouts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use patchwright::git::GitError;
use patchwright::git::checkout::{Extras, Submodules, checkout};
use patchwright::git::mirror::Mirror;

use super::fixture::{Repo, Side, agent_git, id};

#[tokio::test]
async fn a_checkout_has_the_files_of_its_commit_with_their_modes_and_links() {
    let (repo, side) = (Repo::new(), Side::new());
    let commit = repo.commit_entries(
        "main",
        "first",
        &[("run.sh", 0o100_755, b"#!/bin/sh\n"), ("d/a", 0o100_644, b"1\n"), ("link", 0o120_000, b"d/a")],
    );
    repo.commit("second", &[("later", "2\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dest = side.checkout(&mirror, &commit, "checkout").await;
    assert_eq!(fs::read_to_string(dest.join("d/a")).unwrap(), "1\n");
    assert_eq!(fs::metadata(dest.join("run.sh")).unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(fs::read_link(dest.join("link")).unwrap().to_str(), Some("d/a"));
    assert!(!dest.join("later").exists());
}

#[tokio::test]
async fn a_checkout_borrows_the_history_has_no_remote_and_can_be_committed_to() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let head = repo.commit("second", &[("a", "2\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dest = side.checkout(&mirror, &head, "checkout").await;
    let repository = git2::Repository::open(&dest).unwrap();
    assert!(repository.remotes().unwrap().is_empty());
    assert!(repository.revparse_single("HEAD~1").is_ok(), "the history is there");
    let own = fs::read_dir(dest.join(".git/objects/pack")).unwrap().count();
    assert_eq!(own, 0, "objects are the mirror's");
    fs::write(dest.join("a"), "3\n").unwrap();
    agent_git(&dest, &["commit", "--quiet", "--all", "--message=mine"]);
    assert_eq!(repo.tip("main").as_deref(), Some(head.as_str()));
    assert_eq!(mirror.head("main").await.unwrap().as_deref(), Some(head.as_str()));
}

#[tokio::test]
async fn a_checkout_has_the_tags_and_an_identity_to_commit_with() {
    let (repo, side) = (Repo::new(), Side::new());
    let first = repo.commit("first", &[("a", "1\n")]);
    repo.annotated_tag("v1", &first);
    let head = repo.commit("second", &[("a", "2\n")]);
    repo.tag("light", &head);
    let mirror = side.mirror_of(&repo).await;
    let dest = side.checkout(&mirror, &head, "checkout").await;
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(args).current_dir(&dest).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap()
    };
    let described = git(&["describe"]);
    assert!(String::from_utf8_lossy(&described.stdout).starts_with("v1-1-g"), "{described:?}");
    assert!(git(&["tag", "--points-at", "HEAD"]).stdout.starts_with(b"light"));
    let committed = git(&["commit", "--quiet", "--allow-empty", "--message=mine"]);
    assert!(committed.status.success(), "{committed:?}");
}

#[tokio::test]
async fn a_commit_that_was_not_fetched_is_not_found() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dest = side.path().join("checkout");
    for commit in [&"1".repeat(40), "main", "--orphan"] {
        let error = checkout(&side.git, &mirror, commit, &dest, &Extras::default()).await.unwrap_err();
        assert!(matches!(error, GitError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_folder_with_something_in_it_is_left_alone() {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dest = side.folder("checkout");
    fs::write(dest.join("mine"), "x").unwrap();
    checkout(&side.git, &mirror, &head, &dest, &Extras::default()).await.unwrap_err();
    assert_eq!(fs::read_dir(&dest).unwrap().count(), 1);
}

#[tokio::test]
async fn submodules_come_only_when_asked_for() {
    let side = Side::new();
    let folder = side.folder("forge/acme");
    let (library, repo) = (Repo::at(&folder.join("lib.git")), Repo::at(&folder.join("web.git")));
    let pinned = library.commit("library", &[("lib.rs", "1\n")]);
    library.commit("newer", &[("lib.rs", "2\n")]);
    let modules = b"[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ../lib.git\n";
    let head = repo.commit_entries(
        "main",
        "first",
        &[(".gitmodules", 0o100_644, modules), ("vendor/lib", 0o160_000, pinned.as_bytes())],
    );
    let mirror = side.mirror_of(&repo).await;
    let without = side.checkout(&mirror, &head, "without").await;
    assert_eq!(fs::read_dir(without.join("vendor/lib")).unwrap().count(), 0);
    let submodules = Some(Submodules { remote: repo.remote(), mirrors: side.folder("mirrors") });
    let dest = side.path().join("with");
    checkout(&side.git, &mirror, &head, &dest, &Extras { lfs: None, submodules }).await.unwrap();
    assert_eq!(fs::read_to_string(dest.join("vendor/lib/lib.rs")).unwrap(), "1\n");
}

#[tokio::test]
async fn lfs_without_git_lfs_is_an_error_that_says_so() {
    let repo = Repo::new();
    let head = repo.commit("first", &[("a", "1\n")]);
    let side = Side::with_wrapper(r#"[ "$1" = lfs ] && exit 1; exec "$REAL" "$@""#);
    let mirror = side.mirror_of(&repo).await;
    let extras = Extras { lfs: Some(repo.remote()), submodules: None };
    let error = checkout(&side.git, &mirror, &head, &side.path().join("c"), &extras).await.unwrap_err();
    assert!(matches!(&error, GitError::Unsupported { what } if what.contains("git-lfs")), "{error}");
}

#[tokio::test]
async fn three_thousand_files_are_checked_out_with_two_processes_at_most() {
    let repo = Repo::new();
    let files: Vec<_> =
        (0..3000).map(|n| (format!("src/{}/file{n}.rs", n % 50), format!("fn f{n}() {{}}\n"))).collect();
    let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    let head = repo.commit("many", &files);
    let side = Side::with_wrapper("echo \"$*\" >> \"$DIR/calls\"; exec \"$REAL\" \"$@\"");
    let mirror = side.mirror_of(&repo).await;
    fs::remove_file(side.path().join("calls")).unwrap();
    let began = Instant::now();
    let dest = side.checkout(&mirror, &head, "checkout").await;
    println!("checkout of 3,000 files: {:?}", began.elapsed());
    assert_eq!(fs::read_to_string(side.path().join("calls")).unwrap().lines().count(), 1);
    assert!(dest.join("src/49/file2999.rs").exists());
}

#[tokio::test]
async fn a_mirror_is_opened_again_where_it_is() {
    let side = Side::new();
    assert_eq!(side.mirror(), Mirror::open(&side.folder("mirrors"), &id("acme/web")).unwrap());
}
