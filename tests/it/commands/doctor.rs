//! `patchwright doctor`: all is well, and each thing broken alone.
//!
//! Invariant: one broken thing is one BAD line that names it and says what to do.

use std::process::{Output, Stdio};

use super::seen;
use crate::program::{Described, FIXER, Service};

async fn healthy() -> Service {
    let service = Described::with_agent(FIXER).on_github().with_sentry().prepare().await;
    service.sentry.as_ref().unwrap().issue("acme", "web", "1");
    service
}

/// The only BAD line of a doctor that found one thing to mend.
fn only_bad_line(output: &Output) -> String {
    let (code, out, error) = seen(output);
    assert_eq!(code, 1, "{out}{error}");
    let bad: Vec<&str> = out.lines().filter(|line| line.starts_with("BAD ")).collect();
    assert_eq!(bad.len(), 1, "{out}");
    bad[0].to_owned()
}

async fn doctor_with(service: &Service, name: &str, value: &str) -> Output {
    service.command(&["doctor"]).env(name, value).stdin(Stdio::null()).output().await.unwrap()
}

#[tokio::test]
async fn all_is_well() {
    let service = healthy().await;
    let (code, out, error) = seen(&service.run(&["doctor"]).await);
    assert_eq!(code, 0, "{out}{error}");
    assert!(
        out.contains("0 to mend") && out.contains("patchwright-bot") && out.contains("default branch `main`"),
        "{out}"
    );
    for secret in [service.github.as_ref().unwrap().token(), crate::fake::sentry::TOKEN, crate::program::SECRET] {
        assert!(!out.contains(secret) && !error.contains(secret), "{out}");
    }
}

#[tokio::test]
async fn offline_asks_nobody() {
    let service = healthy().await;
    let (code, out, _) = seen(&service.run(&["doctor", "--offline"]).await);
    assert!(code == 0 && out.contains("not asked (--offline)"), "{out}");
    assert!(service.github.as_ref().unwrap().requests().is_empty());
    assert!(service.sentry.as_ref().unwrap().log().is_empty());
}

#[tokio::test]
async fn a_missing_webhook_secret_is_named() {
    let service = healthy().await;
    let output = service.command(&["doctor"]).env_remove("SENTRY_WEBHOOK_SECRET").output().await.unwrap();
    let line = only_bad_line(&output);
    assert!(line.contains("webhook secrets") && line.contains("SENTRY_WEBHOOK_SECRET"), "{line}");
}

#[tokio::test]
async fn an_agent_that_is_not_installed_is_named() {
    let service = Described::with_agent("").command("[\"no-such-agent\"]").prepare().await;
    let line = only_bad_line(&service.run(&["doctor", "--offline"]).await);
    assert!(line.contains("`no-such-agent` (agent `test`) is not on PATH; install it"), "{line}");
}

#[tokio::test]
async fn an_agent_that_is_not_configured_is_named_with_what_there_is() {
    let service = Described::with_agent(FIXER).prepare().await;
    let file = service.folder().join("patchwright.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("agent = \"test\"", "agent = \"tset\"");
    std::fs::write(&file, text).unwrap();
    let (code, out, _) = seen(&service.run(&["doctor", "--offline"]).await);
    assert!(code == 1 && out.contains("tset") && out.contains("did you mean `test`?"), "{out}");
}

#[tokio::test]
async fn a_missing_git_is_named() {
    let service = Described::with_agent("").command("[\"/bin/true\"]").prepare().await;
    let bin = service.folder().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/true", bin.join("true")).unwrap();
    let output = service.command(&["doctor", "--offline"]).env("PATH", &bin).output().await.unwrap();
    let line = only_bad_line(&output);
    assert!(line.contains("`git` was not found on PATH") && line.contains("apt install git"), "{line}");
}

#[tokio::test]
async fn tokens_that_are_not_accepted_are_named() {
    let service = healthy().await;
    let (code, out, _) = seen(&doctor_with(&service, "GITHUB_TOKEN", "github_pat_wrong_0123456789").await);
    assert!(code == 1 && out.contains("the token is wrong, expired or revoked"), "{out}");
    assert!(!out.contains("github_pat_wrong"), "{out}");
    let (code, out, _) = seen(&doctor_with(&service, "SENTRY_AUTH_TOKEN", "sntryu_wrong").await);
    assert!(code == 1 && out.contains("Sentry API") && out.contains("token") && !out.contains("sntryu_wrong"), "{out}");
}

#[tokio::test]
async fn a_repository_without_access_is_named() {
    let service = healthy().await;
    let file = service.folder().join("patchwright.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"acme/web\"", "\"acme/hidden\"");
    std::fs::write(&file, text).unwrap();
    let line = only_bad_line(&service.run(&["doctor"]).await);
    assert!(
        line.contains("repository acme/hidden") && line.contains("GitHub hides what a token was not given"),
        "{line}"
    );
}

#[tokio::test]
async fn an_archived_repository_is_named() {
    let service = healthy().await;
    service.github.as_ref().unwrap().archive("acme/web");
    let line = only_bad_line(&service.run(&["doctor"]).await);
    assert!(line.contains("it is archived"), "{line}");
}

#[tokio::test]
async fn a_mistake_in_the_file_is_named_with_its_line() {
    let service = Described::with_agent(FIXER).config("[worker]\ncount = \"two\"").prepare().await;
    let line = only_bad_line(&service.run(&["doctor"]).await);
    let text = std::fs::read_to_string(service.folder().join("patchwright.toml")).unwrap();
    let number = text.lines().position(|line| line.starts_with("count")).unwrap() + 1;
    assert!(line.contains(&format!("patchwright.toml:{number}:")) && line.contains("worker.count"), "{line}");
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_one_is_named() {
    let service = Described::with_agent(FIXER).prepare().await;
    std::fs::write(service.folder().join("data"), "a file is in the way").unwrap();
    let (code, out, _) = seen(&service.run(&["doctor", "--offline"]).await);
    assert!(code == 1 && out.contains("cannot be written") && out.contains("set `data_dir`"), "{out}");
}

#[tokio::test]
async fn another_programs_database_is_named_and_left_alone() {
    let service = Described::with_agent(FIXER).prepare().await;
    std::fs::create_dir(service.folder().join("data")).unwrap();
    std::fs::write(service.database(), "this is no database at all, but somebody's notes").unwrap();
    let line = only_bad_line(&service.run(&["doctor", "--offline"]).await);
    assert!(line.contains("database") && line.contains("patchwright.db"), "{line}");
    assert_eq!(std::fs::read(service.database()).unwrap(), b"this is no database at all, but somebody's notes");
}
