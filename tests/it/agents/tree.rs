//! What an agent leaves in its checkout: odd files, and a `.git` that is not what it was.
//!
//! Invariant: the published commit is ours, made on the base from the files alone; nothing that the agent configured
//! ever runs on our side.

use super::{fixer_after, fixer_before, published, published_files, refused};
use crate::program::{APP, Described, Service};

/// The published commit has our author, the base as its only parent, and the fix in it.
fn is_our_commit(service: &Service) {
    let repository = git2::Repository::open_bare(service.repo.path()).unwrap();
    let tip = service.repo.tip("patchwright/sentry-1").unwrap();
    let commit = repository.find_commit(git2::Oid::from_str(&tip).unwrap()).unwrap();
    assert_eq!(commit.author().name(), Ok("Patchwright"));
    assert_eq!(commit.parent_ids().map(|id| id.to_string()).collect::<Vec<_>>(), [service.repo.tip("main").unwrap()]);
    let names: Vec<String> = published_files(service).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["app.sh", "tests/case_zero.sh", "tests/run.sh"]);
}

#[tokio::test]
async fn commits_of_the_agent_become_one_commit_of_ours() {
    let git =
        "git add -A && git -c user.name=Eve -c user.email=eve@example.test commit -qm 'mine' && git log --oneline";
    let (service, _) = published(fixer_before(git)).await;
    is_our_commit(&service);
}

#[tokio::test]
async fn a_rewritten_history_changes_nothing() {
    let git = "git checkout -q --orphan other && git add -A && \
               git -c user.name=Eve -c user.email=eve@example.test commit -qm 'new root' && \
               git branch -f main HEAD && git reflog expire --expire=now --all";
    let (service, _) = published(fixer_before(git)).await;
    is_our_commit(&service);
}

#[tokio::test]
async fn a_deleted_git_folder_changes_nothing() {
    let (service, _) = published(fixer_before("rm -rf .git")).await;
    is_our_commit(&service);
}

#[tokio::test]
async fn a_git_folder_that_points_elsewhere_changes_nothing() {
    for elsewhere in ["echo 'gitdir: /proc/self/cwd/evil' > .git", "ln -s / .git", "mkfifo .git"] {
        let (service, _) = published(fixer_before(&format!("rm -rf .git; {elsewhere}"))).await;
        is_our_commit(&service);
    }
}

#[tokio::test]
async fn what_an_agent_configures_in_git_never_runs_on_our_side() {
    let canaries = tempfile::tempdir().unwrap();
    let canary = canaries.path().join("ran").display().to_string();
    let works = canaries.path().join("works").display().to_string();
    let trap = format!(
        "git config core.fsmonitor 'touch {canary}; false'\n\
         git config filter.evil.clean 'touch {canary}; cat'\n\
         git config filter.evil.smudge 'touch {canary}; cat'\n\
         git config filter.evil.process 'touch {canary}; cat'\n\
         git config diff.external 'touch {canary}'\n\
         git config core.sshCommand 'touch {canary}'\n\
         git config core.hooksPath \"$PWD/.hooks\"\n\
         mkdir -p .git/hooks\n\
         for h in pre-commit post-checkout pre-push reference-transaction post-index-change; do\n\
         printf '#!/bin/sh\\ntouch {canary}\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done\n\
         printf '[core]\\n\\tfsmonitor = touch {canary}\\n' > \"$HOME/.gitconfig\"\n\
         printf '* filter=evil diff=evil\\n' > .gitattributes\n\
         git status >/dev/null 2>&1\n\
         mv {canary} {works}"
    );
    let (service, _) = published(fixer_before(&trap)).await;
    assert!(std::path::Path::new(&works).exists(), "the trap does not work, so the test shows nothing");
    assert!(!std::path::Path::new(&canary).exists(), "something of the agent's ran on our side");
    let files = published_files(&service);
    assert!(files.iter().any(|(name, _)| name == ".gitattributes"), "{files:?}");
}

#[tokio::test]
async fn a_suite_that_the_agent_emptied_fails() {
    let strict = "set -eu\nfor t in tests/case_*.sh; do sh \"$t\"; done\n";
    let described = Described::with_agent("rm tests/case_*.sh; echo 'echo 7' > app.sh")
        .file("tests/case_two.sh", "[ \"$(sh app.sh 4 2)\" = 2 ]\n")
        .file("tests/run.sh", strict);
    let sentence = refused(described).await;
    assert!(sentence.contains("`sh tests/run.sh` passed before the change and failed with exit code"), "{sentence}");
}

#[tokio::test]
async fn a_deleted_test_runner_is_no_passed_test() {
    let sentence = refused(Described::with_agent("rm -r tests; echo 'echo 7' > app.sh")).await;
    assert!(sentence.starts_with("no pull request: the tests do not pass with the change: acme/web: "), "{sentence}");
}

#[tokio::test]
async fn what_git_cannot_or_should_not_keep_is_refused_with_its_path() {
    for (mischief, expected) in [
        ("git init -q inner && echo x > inner/x", "acme/web: `inner` is a repository of its own"),
        ("ln -s /etc/passwd leak", "acme/web: `leak` is a link to an absolute path"),
        ("mkdir d; ln -s ../../up d/leak", "acme/web: `d/leak` is a link that leaves the repository"),
        ("mkfifo pipe", "acme/web: `pipe` is a FIFO, which git cannot keep"),
        ("head -c 50000000 /dev/zero > big", "acme/web: `big` has 50000000 bytes, more than the limit of 5242880"),
    ] {
        let sentence = refused(fixer_after(mischief)).await;
        let said = sentence.replace("no pull request: the change cannot be published: ", "");
        assert!(said.replace('`', "").starts_with(&expected.replace('`', "")), "{mischief}: {sentence}");
    }
}

#[tokio::test]
async fn unreadable_folders_and_lost_rights_do_not_keep_a_workspace_alive() {
    let (service, _) =
        published(fixer_before("mkdir -p node_modules/a/b; chmod 000 node_modules/a; chmod 555 .")).await;
    is_our_commit(&service);
    assert_ne!(published_files(&service)[0].1, APP);
}
