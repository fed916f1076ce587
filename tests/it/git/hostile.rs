//! Repositories and agents that try to have something run on our side.

use std::fs;
use std::path::{Path, PathBuf};

use patchwright::forge::Remote;
use patchwright::git::GitError;
use patchwright::git::checkout::{Extras, Submodules, checkout};
use patchwright::git::objects::{Rules, snapshot};
use patchwright::git::push::push;

use super::fixture::{Repo, Side, agent_git, write_program};

/// A command that leaves a trace when anything runs it.
fn canary(side: &Side) -> (PathBuf, String) {
    let trace = side.path().join("canary");
    let program = side.path().join("evil.sh");
    write_program(&program, &format!("echo \"$0 $*\" >> {}; cat", trace.display()));
    (trace, program.display().to_string())
}

/// Configuration with which each of git's ways to run something leads to `program`.
fn evil_config(program: &str) -> String {
    format!(
        "[core]\n\tfsmonitor = {program}\n\tsshCommand = {program}\n\tpager = {program}\n\teditor = {program}\n\
         \thooksPath = {hooks}\n\tgitProxy = {program}\n\taskPass = {program}\n\talternateRefsCommand = {program}\n\
         [filter \"evil\"]\n\tclean = {program}\n\tsmudge = {program}\n\tprocess = {program}\n\trequired = true\n\
         [diff \"evil\"]\n\ttextconv = {program}\n\tcommand = {program}\n[diff]\n\texternal = {program}\n\
         [merge \"evil\"]\n\tdriver = {program}\n[credential]\n\thelper = !{program}\n\
         [uploadpack]\n\tpackObjectsHook = {program}\n[protocol]\n\tallow = always\n\
         [gpg]\n\tprogram = {program}\n[commit]\n\tgpgSign = true\n[push]\n\tgpgSign = true\n",
        hooks = Path::new(program).parent().unwrap().join("hooks").display(),
    )
}

/// Hooks that lead to `program`, in a folder.
fn evil_hooks(folder: &Path, program: &str) {
    for hook in ["post-checkout", "reference-transaction", "pre-push", "post-index-change", "pre-auto-gc"] {
        write_program(&folder.join(hook), &format!("exec {program}"));
    }
}

const ATTRIBUTES: &str = "* filter=evil diff=evil merge=evil text eol=crlf ident working-tree-encoding=UTF-16\n";

#[tokio::test]
async fn the_canary_does_sing_when_git_is_used_carelessly() {
    let (repo, side) = (Repo::new(), Side::new());
    let (trace, program) = canary(&side);
    let head = repo.commit("first", &[(".gitattributes", "* filter=evil\n"), ("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dir = side.checkout(&mirror, &head, "checkout").await;
    fs::write(dir.join(".git/config"), format!("{}[x]\n", evil_config(&program))).unwrap();
    let _ = std::process::Command::new("git").args(["status"]).current_dir(&dir).output();
    assert!(trace.exists(), "otherwise the other tests here prove nothing");
}

#[tokio::test]
async fn nothing_that_a_repository_holds_is_run_and_every_file_has_the_bytes_of_its_object() {
    let (repo, side) = (Repo::new(), Side::new());
    let (trace, program) = canary(&side);
    let head = repo.commit(
        "first",
        &[
            (".gitattributes", ATTRIBUTES),
            ("a.txt", "$Id$\none\n"),
            (".gitconfig", &evil_config(&program)),
            (".lfsconfig", &evil_config(&program)),
            ("hooks/post-checkout", &format!("#!/bin/sh\nexec {program}\n")),
        ],
    );
    let mirror = side.mirror_of(&repo).await;
    let dir = side.checkout(&mirror, &head, "checkout").await;
    assert_eq!(fs::read_to_string(dir.join("a.txt")).unwrap(), "$Id$\none\n");
    let taken = snapshot(&side.draft(&mirror), &head, &dir, &Rules::strict(1 << 20, 10, 1 << 20)).await.unwrap();
    assert_eq!(taken.changes, []);
    assert!(!trace.exists(), "{}", fs::read_to_string(&trace).unwrap());
}

#[tokio::test]
async fn an_agent_that_arms_its_own_repository_hits_nobody() {
    let (repo, side) = (Repo::new(), Side::new());
    let (trace, program) = canary(&side);
    let head = repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dir = side.checkout(&mirror, &head, "checkout").await;
    fs::write(dir.join(".git/config"), evil_config(&program)).unwrap();
    evil_hooks(&dir.join(".git/hooks"), &program);
    fs::write(dir.join(".git/info/attributes"), ATTRIBUTES).unwrap();
    fs::write(dir.join(".gitattributes"), ATTRIBUTES).unwrap();
    fs::write(dir.join("a"), "2\n").unwrap();
    let taken = snapshot(&side.draft(&mirror), &head, &dir, &Rules::strict(1 << 20, 10, 1 << 20)).await.unwrap();
    assert_eq!(taken.changes.len(), 2);
    mirror.fetch(&side.git, &repo.remote()).await.unwrap();
    assert!(!trace.exists(), "{}", fs::read_to_string(&trace).unwrap());
}

#[tokio::test]
async fn a_mirror_that_was_tampered_with_is_put_in_order_before_git_works_on_it() {
    let (repo, attacker, side) = (Repo::new(), Repo::new(), Side::new());
    let (trace, program) = canary(&side);
    repo.commit("first", &[("a", "1\n")]);
    attacker.commit("evil", &[("a", "evil\n")]);
    let mirror = side.mirror_of(&repo).await;
    let tamper = |elsewhere| {
        let redirect = format!("[url \"{}\"]\n\tinsteadOf = {}\n", attacker.remote().url, repo.remote().url);
        fs::write(mirror.path().join("config"), format!("{}{redirect}", evil_config(&program))).unwrap();
        evil_hooks(&mirror.path().join("hooks"), &program);
        fs::create_dir_all(mirror.path().join("objects/info")).unwrap();
        fs::write(mirror.path().join("objects/info/alternates"), "/nonexistent\n").unwrap();
        fs::create_dir_all(mirror.path().join("info")).unwrap();
        fs::write(mirror.path().join("info/attributes"), ATTRIBUTES).unwrap();
        if elsewhere {
            fs::write(mirror.path().join("commondir"), attacker.path().display().to_string()).unwrap();
        }
    };
    let theirs = attacker.tip("main");
    for (round, elsewhere) in [(1, false), (2, true)] {
        let branch = format!("fix-{round}");
        tamper(elsewhere);
        let head = repo.commit("more", &[("a", &branch)]);
        mirror.fetch(&side.git, &repo.remote()).await.unwrap();
        assert_eq!(mirror.head("main").await.unwrap().as_deref(), Some(head.as_str()));
        tamper(elsewhere);
        push(&side.git, &mirror, &repo.remote(), &head, &branch, None).await.unwrap();
        assert_eq!((repo.tip(&branch), attacker.tip(&branch)), (Some(head), None), "the push was not led elsewhere");
        assert_eq!(attacker.tip("main"), theirs, "the fetch was not led elsewhere");
    }
    assert!(!trace.exists(), "{}", fs::read_to_string(&trace).unwrap());
}

#[tokio::test]
async fn a_mirror_whose_folders_became_links_is_not_followed() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let outside = side.folder("outside");
    fs::write(outside.join("tmp_mine"), "x").unwrap();
    fs::remove_dir_all(mirror.path().join("objects/pack")).unwrap();
    std::os::unix::fs::symlink(&outside, mirror.path().join("objects/pack")).unwrap();
    let error = mirror.fetch(&side.git, &repo.remote()).await.unwrap_err();
    assert!(matches!(&error, GitError::Other { what } if what.contains("is not a folder")), "{error}");
    assert!(outside.join("tmp_mine").exists());
}

#[tokio::test]
async fn a_submodule_cannot_lead_to_a_program_or_another_host() {
    let side = Side::new();
    let (trace, program) = canary(&side);
    for url in [format!("ext::{program} %S"), format!("--upload-pack={program}"), "https://127.0.0.1:9/x/y".to_owned()]
    {
        let repo = Repo::new();
        let modules = format!("[submodule \"s\"]\n\tpath = s\n\turl = {url}\n\tupdate = checkout\n");
        let commit = "1".repeat(40);
        let entries = [(".gitmodules", 0o100_644, modules.as_bytes()), ("s", 0o160_000, commit.as_bytes())];
        let head = repo.commit_entries("main", "submodule", &entries);
        let mirror = side.mirror();
        // An address that looks like an option is refused by git on arrival, the others by us at the checkout.
        let result = match mirror.fetch(&side.git, &repo.remote()).await {
            Ok(_) => {
                let dest = side.path().join(&head);
                let submodules = Some(Submodules { remote: repo.remote(), mirrors: side.folder("mirrors") });
                checkout(&side.git, &mirror, &head, &dest, &Extras { lfs: None, submodules }).await
            }
            Err(error) => {
                assert!(url.starts_with('-'), "{url}: {error}");
                Err(error)
            }
        };
        assert!(matches!(result, Err(GitError::Unsupported { .. })), "{url}: {result:?}");
    }
    assert!(!trace.exists(), "{}", fs::read_to_string(&trace).unwrap());
}

#[tokio::test]
async fn a_submodule_cannot_lead_to_a_repository_outside_of_the_folder_of_repositories() {
    let side = Side::new();
    let private = Repo::at(&side.folder("private/acme").join("lib.git"));
    let pinned = private.commit("secret", &[("secret", "1\n")]);
    let repo = Repo::at(&side.folder("forge/acme").join("web.git"));
    let modules = format!("[submodule \"s\"]\n\tpath = s\n\turl = {}\n", private.remote().url);
    let entries = [(".gitmodules", 0o100_644, modules.as_bytes()), ("s", 0o160_000, pinned.as_bytes())];
    let head = repo.commit_entries("main", "submodule", &entries);
    let mirror = side.mirror_of(&repo).await;
    let submodules = Some(Submodules { remote: repo.remote(), mirrors: side.folder("mirrors") });
    let extras = Extras { lfs: None, submodules };
    let error = checkout(&side.git, &mirror, &head, &side.path().join("c"), &extras).await.unwrap_err();
    assert!(matches!(error, GitError::Unsupported { .. }), "{error}");
    assert!(!side.path().join("mirrors/acme/lib.git").exists());
}

#[tokio::test]
async fn an_address_that_names_a_program_is_refused() {
    let side = Side::new();
    let (trace, program) = canary(&side);
    for url in [format!("ext::{program}"), format!("ssh://-oProxyCommand={program}/x"), "-u".to_owned()] {
        let remote = Remote { url, authorization: None };
        let error = side.mirror().fetch(&side.git, &remote).await.unwrap_err();
        assert!(matches!(error, GitError::Unsupported { .. }), "{error}");
    }
    assert!(!trace.exists());
}

#[tokio::test]
async fn a_tree_that_would_write_into_dot_git_is_refused_on_arrival() {
    let (repo, side) = (Repo::new(), Side::new());
    let repository = git2::Repository::open_bare(repo.path()).unwrap();
    let blob = repository.blob(b"[core]\n\tfsmonitor = evil\n").unwrap();
    // libgit2's own builders refuse such a name, so the object is written by hand.
    let raw = [b"100644 .git\0".as_slice(), blob.as_bytes()].concat();
    let tree = repository.odb().unwrap().write(git2::ObjectType::Tree, &raw).unwrap();
    let who = git2::Signature::new("a", "a@example.test", &git2::Time::new(1_700_000_000, 0)).unwrap();
    let tree = repository.find_tree(tree).unwrap();
    let head = repository.commit(None, &who, &who, "evil", &tree, &[]).unwrap().to_string();
    repo.branch("main", &head);
    let error = side.mirror().fetch(&side.git, &repo.remote()).await.unwrap_err();
    assert!(matches!(&error, GitError::Unsupported { what } if what.contains("malformed")), "{error}");
}

#[tokio::test]
async fn a_history_rewritten_by_the_agent_leaves_the_mirror_alone() {
    let (repo, side) = (Repo::new(), Side::new());
    let head = repo.commit("first", &[("a", "1\n")]);
    let mirror = side.mirror_of(&repo).await;
    let dir = side.checkout(&mirror, &head, "checkout").await;
    agent_git(&dir, &["commit", "--quiet", "--amend", "--message=mine"]);
    agent_git(&dir, &["reflog", "expire", "--expire=now", "--all"]);
    agent_git(&dir, &["gc", "--quiet", "--prune=now"]);
    assert_eq!(mirror.head("main").await.unwrap().as_deref(), Some(head.as_str()));
    assert!(mirror.resolve(&head).await.unwrap().is_some());
}
