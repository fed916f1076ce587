//! `patchwright doctor`: all is well, and each thing broken alone.
//!
//! Invariant: one broken thing is one BAD line that names it and says what to do.

use std::process::{Output, Stdio};

use super::seen;
use crate::fake::github::Fault;
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
async fn a_git_configuration_that_cannot_be_read_is_named_by_the_doctor_and_by_the_job_that_it_stops() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".gitconfig"), "[core\n").unwrap();
    let path = home.path().to_str().unwrap();
    let line = only_bad_line(&doctor_with(&healthy().await, "HOME", path).await);
    assert!(line.contains("~/.gitconfig"), "{line}");
    for described in [Described::with_agent("true"), Described::with_agent("true").on_github()] {
        let service = described.environment("HOME", path).start().await;
        let outcome = format!("{:?}", service.work("401").await.outcome);
        assert!(outcome.contains("mend the git configuration"), "{outcome}");
    }
}

#[tokio::test]
async fn several_workers_beside_a_git_that_shows_its_token_deserve_a_look() {
    let service = healthy().await;
    let output = service.run(&["doctor", "--offline", "--set", "worker.count=2"]).await;
    let (code, out, _) = seen(&output);
    assert!(
        code == 0 && out.lines().any(|line| line.starts_with("look") && line.contains("`worker.count` is 2")),
        "{out}"
    );
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

/// The lines that begin with `mark` and are about this.
fn lines_about(output: &Output, mark: &str, about: &str) -> Vec<String> {
    let (_, out, _) = seen(output);
    let wanted = |line: &&str| line.starts_with(mark) && line.contains(about);
    out.lines().filter(wanted).map(str::to_owned).collect()
}

/// Whose the token is, as GitHub says it of a token with these scopes; a fine-grained one has none to list.
fn user_with(scopes: Option<&str>) -> Fault {
    let headers = scopes.map(|scopes| ("x-oauth-scopes", scopes.to_owned())).into_iter().collect();
    Fault::Answer { status: 200, headers, body: "{\"login\": \"patchwright-bot\"}".to_owned() }
}

#[tokio::test]
async fn a_classic_token_without_the_scope_that_it_needs_is_named() {
    let service = healthy().await;
    service.github().fail_next_at("GET", "/user", user_with(Some("gist, read:org")));
    let line = only_bad_line(&service.run(&["doctor"]).await);
    assert!(line.contains("has the scopes [gist, read:org]; a classic token needs `repo`"), "{line}");
}

#[tokio::test]
async fn what_a_fine_grained_token_does_not_tell_is_not_said_to_be_well() {
    let service = healthy().await;
    service.github().fail_next_at("GET", "/user", user_with(None));
    let output = service.run(&["doctor"]).await;
    let found = lines_about(&output, "look", "forge: GitHub");
    assert!(found[0].contains("could not be checked") && found[0].contains("*Pull requests: write*"), "{found:?}");
}

#[tokio::test]
async fn a_token_that_may_read_but_not_push_is_named() {
    let service = healthy().await;
    let refusal = Fault::message(403, "Write access to repository not granted.");
    service.github().fail_next_at("GET", "/acme/web.git/info/refs", refusal);
    let line = only_bad_line(&service.run(&["doctor"]).await);
    assert!(line.contains("repository acme/web") && line.contains("*Contents: write*"), "{line}");
    let asked = service.github().requests().into_iter().any(|request| request.path.contains("git-receive-pack"));
    assert!(asked, "what was refused is a push");
}

#[tokio::test]
async fn a_token_whose_owner_may_not_push_is_named() {
    let service = healthy().await;
    let body = "{\"full_name\": \"acme/web\", \"default_branch\": \"main\", \"permissions\": {\"push\": false}}";
    let answer = Fault::Answer { status: 200, headers: Vec::new(), body: body.to_owned() };
    service.github().fail_next_at("GET", "/repos/acme/web", answer);
    let line = only_bad_line(&service.run(&["doctor"]).await);
    assert!(line.contains("may not push to it; give it *Contents: write*"), "{line}");
}

#[tokio::test]
async fn a_token_that_may_not_see_pull_requests_is_named() {
    let service = healthy().await;
    let refusal = Fault::message(403, "Resource not accessible by personal access token");
    service.github().fail_next_at("GET", "/repos/acme/web/pulls", refusal);
    let line = only_bad_line(&service.run(&["doctor"]).await);
    assert!(line.contains("repository acme/web") && line.contains("*Pull requests: write*"), "{line}");
}

#[tokio::test]
async fn a_sentry_token_that_lacks_scopes_is_something_to_look_at() {
    let service = healthy().await;
    service.sentry.as_ref().unwrap().scopes(&["project:read", "org:read"]);
    let found = lines_about(&service.run(&["doctor"]).await, "look", "Sentry API");
    assert!(found[0].contains("lacks event:read") && found[0].contains("give it"), "{found:?}");
}

#[tokio::test]
async fn a_related_repository_that_cannot_be_changed_is_something_to_look_at() {
    let service = Described::with_agent(FIXER).on_github().project("related = [\"acme/api\"]").prepare().await;
    service.github().add_repository("acme/api", service.repo.path());
    service.github().archive("acme/api");
    let output = service.run(&["doctor"]).await;
    assert_eq!(seen(&output).0, 0, "{output:?}");
    assert_eq!(lines_about(&output, "look", "repository acme/api").len(), 1, "{output:?}");
}

/// A folder for PATH with a `git` that is this script.
fn path_with_git(service: &Service, script: &str) -> std::path::PathBuf {
    let bin = service.folder().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/true", bin.join("true")).unwrap();
    std::fs::write(bin.join("git"), format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(bin.join("git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bin
}

#[tokio::test]
async fn a_git_that_is_too_old_or_has_a_hole_where_it_matters_is_named() {
    for (keys, version, mark, text) in [
        ("", "2.39.5", "BAD ", "git 2.39.5 is too old; 2.40 or newer is needed"),
        ("", "2.43.0", "look", "CVE-2025-48384"),
        ("submodules = true", "2.43.0", "BAD ", "CVE-2025-48384"),
    ] {
        let service = Described::with_agent("").command("[\"/bin/true\"]").project(keys).prepare().await;
        let bin = path_with_git(&service, &format!("echo git version {version}"));
        let output = service.command(&["doctor", "--offline"]).env("PATH", &bin).output().await.unwrap();
        let found = lines_about(&output, mark, "git");
        assert!(found.iter().any(|line| line.contains(text)), "{version}: {output:?}");
    }
}

#[tokio::test]
async fn lfs_without_git_lfs_is_named() {
    let service = Described::with_agent("").command("[\"/bin/true\"]").project("lfs = true").prepare().await;
    let bin = path_with_git(&service, "[ \"$1\" = version ] && echo git version 2.50.1");
    let output = service.command(&["doctor", "--offline"]).env("PATH", &bin).output().await.unwrap();
    let line = only_bad_line(&output);
    assert!(line.contains("git-lfs is not on PATH; install it"), "{line}");
}

#[tokio::test]
async fn without_a_configuration_the_rest_is_checked_and_counted() {
    let service = Described::with_agent(FIXER).config("[worker]\ncount = \"two\"").prepare().await;
    let (code, out, _) = seen(&service.run(&["doctor"]).await);
    assert_eq!(code, 1, "{out}");
    for part in ["worker.count", "  user ", "git 2.", "everything else", "1 to mend"] {
        assert!(out.contains(part), "`{part}` is missing:\n{out}");
    }
}

#[tokio::test]
async fn a_setting_that_is_refused_is_said_once_and_not_shown() {
    let service = Described::with_agent(FIXER).environment("SENTRY_ORG", "https://bot:hunter2@sentry.example");
    let service = service.prepare().await;
    let output = service.run(&["doctor", "--offline"]).await;
    let line = only_bad_line(&output);
    assert!(line.contains("`sentry.org` is no slug"), "{line}");
    assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
}
