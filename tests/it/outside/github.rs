//! A GitHub that says no, later, or nothing.
//!
//! Invariant: how many pull requests there are is counted at the server.

use patchwright::job::{Job, JobId, Stage};
use patchwright::outcome::{Abstained, Outcome};

use crate::fake::github::{FakeGitHub, Fault, Permission};
use crate::held::Held;
use crate::program::{Described, FIXER, Service, alert, eventually};

async fn on_github() -> Service {
    Described::with_agent(FIXER).on_github().start().await
}

fn github(service: &Service) -> &FakeGitHub {
    service.github.as_ref().unwrap()
}

/// The message of a job that failed in this stage, without a pull request.
async fn failed_in(service: &Service, stage: Stage) -> String {
    let job = service.work("1").await;
    let Some(Outcome::Failed { stage: at, message }) = job.outcome else { panic!("{:?}", job.outcome) };
    assert_eq!(at, stage, "{message}");
    assert!(github(service).pulls("acme/web").is_empty());
    message
}

/// Works on one issue that must end with the only pull request there is.
async fn opened(service: &Service) -> Job {
    let job = service.work("1").await;
    let history = service.history(job.id).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}\n{history}", job.outcome);
    assert_eq!(github(service).pulls("acme/web").len(), 1);
    job
}

async fn again(service: &Service, job: JobId, args: &[&str]) -> Job {
    let number = job.to_string();
    let all: Vec<&str> = ["jobs", "retry", number.as_str()].iter().chain(args).copied().collect();
    let output = service.run(&all).await;
    assert!(output.status.success(), "{output:?}");
    let job = service.done(job).await;
    service.nothing_left().await;
    job
}

#[tokio::test]
async fn an_expired_token_is_a_failure_that_says_how_to_renew_it() {
    let service = on_github().await;
    github(&service).fail_next_at("GET", "/repos/acme/web", Fault::message(401, "Bad credentials"));
    let message = failed_in(&service, Stage::Mirror).await;
    assert!(message.contains("401 (Bad credentials"), "{message}");
    assert!(message.contains("the token is wrong, expired or revoked: make a new one with"), "{message}");
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let service = on_github().await;
    let refusal = Fault::message(403, "Resource not accessible by personal access token");
    github(&service).fail_next_at("POST", "/pulls", refusal);
    let message = failed_in(&service, Stage::Publish).await;
    assert!(message.contains("give the token *Pull requests: write*"), "{message}");
}

#[tokio::test]
async fn whichever_permission_is_withheld_both_are_named() {
    for permission in [Permission::PullRequests, Permission::Contents] {
        let service = on_github().await;
        github(&service).withhold(permission);
        let message = failed_in(&service, Stage::Publish).await;
        assert!(message.contains("*Contents: write*") && message.contains("*Pull requests: write*"), "{message}");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_visible_is_a_failure_that_explains_why() {
    let service = Described::with_agent(FIXER).on_github().prepare().await;
    let file = service.folder().join("patchwright.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"acme/web\"", "\"acme/hidden\"");
    std::fs::write(&file, text).unwrap();
    let mut service = service;
    service.start().await;
    let message = failed_in(&service, Stage::Mirror).await;
    assert!(
        message.contains("acme/hidden") && message.contains("GitHub hides what a token was not given"),
        "{message}"
    );
}

#[tokio::test]
async fn a_limit_with_a_time_hands_the_job_back_and_it_finishes_by_itself() {
    for (method, path, fault) in [
        ("GET", "/repos/acme/web", Fault::SecondaryLimit { status: 429, retry_after: Some(1) }),
        ("POST", "/pulls", Fault::SecondaryLimit { status: 403, retry_after: Some(1) }),
    ] {
        let service = on_github().await;
        github(&service).fail_next_at(method, path, fault);
        let job = opened(&service).await;
        let history = service.history(job.id).await;
        assert!(history.contains("the job goes on at ") && history.contains("secondary rate limit"), "{history}");
        // Two runs, of which the one that had to wait does not count.
        assert_eq!((job.fence, job.runs), (2, 1), "{history}");
        assert_eq!(history.matches("agent `test` starts").count(), 1, "{history}");
    }
}

#[tokio::test]
async fn a_gateways_html_page_is_asked_again() {
    let service = on_github().await;
    github(&service).fail_next_at("GET", "/repos/acme/web", Fault::BadGateway);
    github(&service).fail_next_at("POST", "/pulls", Fault::BadGateway);
    opened(&service).await;
}

#[tokio::test]
async fn a_lost_answer_to_an_opened_pull_request_opens_no_second_one() {
    let service = on_github().await;
    github(&service).fail_next_at("POST", "/pulls", Fault::DropAfter);
    opened(&service).await;
}

#[tokio::test]
async fn a_pull_request_that_is_there_already_is_adopted() {
    // The fix differs from run to run: the same one made twice within a second is the same commit.
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.agent()).on_github().start().await;
    let job = opened(&service).await;
    let before = github(&service).pulls("acme/web")[0].head.clone();
    // The lists before the attempt show nothing, so that the attempt itself meets the refusal.
    let empty = || Fault::Answer { status: 200, headers: Vec::new(), body: "[]".to_owned() };
    for _look in ["before the agent", "before the push", "before the attempt"] {
        github(&service).fail_next_at("GET", "/pulls", empty());
    }
    let job = again(&service, job.id, &["--fresh"]).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}", job.outcome);
    let refused = |request: &&crate::fake::github::Received| request.method == "POST" && request.status == Some(422);
    assert_eq!(github(&service).requests().iter().filter(refused).count(), 1);
    let pulls = github(&service).pulls("acme/web");
    assert_eq!(pulls.len(), 1);
    assert_ne!(pulls[0].head, before, "the new change was not pushed");
    assert_eq!(github(&service).count("PATCH", "/pulls/1"), 1, "the text was left as it was");
}

#[tokio::test]
async fn a_text_that_could_not_be_brought_up_to_date_is_by_the_next_run_that_pushes_nothing() {
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.counting_agent()).on_github().start().await;
    let job = opened(&service).await;
    assert!(github(&service).pulls("acme/web")[0].body.contains("run 1"));
    github(&service).fail_next_at("PATCH", "/pulls/1", Fault::message(422, "Validation Failed"));
    let failed = again(&service, job.id, &["--fresh"]).await;
    assert!(matches!(failed.outcome, Some(Outcome::Failed { stage: Stage::Publish, .. })), "{:?}", failed.outcome);
    assert!(github(&service).pulls("acme/web")[0].body.contains("run 1"), "the refusal had an effect");

    let job = again(&service, job.id, &[]).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}", job.outcome);
    assert!(github(&service).pulls("acme/web")[0].body.contains("run 2"));
    assert_eq!(held.times("agent"), 2);
}

#[tokio::test]
async fn a_pull_request_that_a_person_marked_ready_is_never_replaced_and_no_agent_is_paid_for_it() {
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.agent()).on_github().start().await;
    let job = opened(&service).await;
    let before = github(&service).pulls("acme/web")[0].head.clone();
    github(&service).mark_ready(1);
    let job = again(&service, job.id, &["--fresh"]).await;
    let Some(Outcome::Abstained { why: Abstained::TakenOver { url } }) = &job.outcome else {
        panic!("{:?}", job.outcome)
    };
    assert!(url.ends_with("/pull/1"), "{url}");
    assert_eq!((github(&service).pulls("acme/web")[0].head.clone(), held.times("agent")), (before, 1));
}

#[tokio::test]
async fn a_limit_of_git_hands_the_job_back_for_a_minute() {
    let service = on_github().await;
    let limit = Fault::SecondaryLimit { status: 429, retry_after: Some(60) };
    github(&service).fail_next_at("POST", "/git-receive-pack", limit);
    let before = patchwright::clock::now();
    let job = service.post("event_alert", &alert("1", "rule")).await.job();
    let minute = before + chrono::TimeDelta::seconds(60);
    let back = eventually(async || (service.job(job).await.run_after >= minute).then_some(()));
    assert!(back.await.is_some(), "{}", service.history(job).await);
}

#[tokio::test]
async fn where_drafts_are_not_supported_the_policy_decides() {
    let service = on_github().await;
    github(&service).fail_next(Fault::NoDrafts);
    let message = failed_in(&service, Stage::Publish).await;
    assert!(message.contains("set `publish.without_drafts = \"open_ready\"`"), "{message}");

    let described = Described::with_agent(FIXER).on_github().config("[publish]\nwithout_drafts = \"open_ready\"");
    let service = described.start().await;
    github(&service).fail_next(Fault::NoDrafts);
    let job = opened(&service).await;
    assert!(!github(&service).pulls("acme/web")[0].draft);
    let sentence = job.outcome.unwrap().to_string();
    assert!(sentence.contains("drafts are not supported there"), "{sentence}");
}

#[tokio::test]
async fn an_archived_repository_is_a_failure_that_says_what_to_do() {
    let service = on_github().await;
    github(&service).archive("acme/web");
    let job = service.work("1").await;
    let Some(Outcome::Failed { message, .. }) = job.outcome else { panic!("{:?}", job.outcome) };
    assert!(message.contains("archived"), "{message}");
    assert!(github(&service).pulls("acme/web").is_empty());
}

#[tokio::test]
async fn a_renamed_repository_gets_its_pull_request_under_its_present_name() {
    let service = on_github().await;
    github(&service).rename("acme/web", "acme/site");
    let job = service.work("1").await;
    let Some(Outcome::Opened { pull_requests }) = &job.outcome else { panic!("{:?}", job.outcome) };
    assert_eq!(pull_requests[0].repository, "acme/site");
    assert_eq!(github(&service).pulls("acme/site").len(), 1);
}

#[tokio::test]
async fn a_push_that_a_rule_refuses_is_a_failure_with_the_rules_words() {
    let service = on_github().await;
    service.repo.hook(
        "pre-receive",
        "echo 'error: GH006: Protected branch update failed for refs/heads/patchwright/sentry-1.' >&2; exit 1",
    );
    let message = failed_in(&service, Stage::Publish).await;
    assert!(message.contains("GH006: Protected branch update failed"), "{message}");
    assert!(message.contains("let the token push it or set another `git.branch_prefix`"), "{message}");
}

#[tokio::test]
async fn a_pull_request_that_a_person_closed_stays_closed() {
    let service = on_github().await;
    let job = opened(&service).await;
    github(&service).close_pull(1);
    let job = again(&service, job.id, &[]).await;
    assert!(
        matches!(job.outcome, Some(Outcome::Abstained { why: Abstained::ClosedByPerson { .. } })),
        "{:?}",
        job.outcome
    );
    assert_eq!(github(&service).pulls("acme/web").len(), 1);
}

#[tokio::test]
async fn a_pull_request_that_is_merged_is_not_opened_again() {
    let service = on_github().await;
    let job = opened(&service).await;
    github(&service).merge_pull(1);
    let job = again(&service, job.id, &["--fresh"]).await;
    let sentence = job.outcome.unwrap().to_string();
    assert!(sentence.contains("is merged already"), "{sentence}");
    assert_eq!(github(&service).pulls("acme/web").len(), 1);
}

#[tokio::test]
async fn a_branch_with_a_persons_commit_is_left_as_it_is() {
    let service = on_github().await;
    let theirs = service.repo.commit_entries("patchwright/sentry-1", "By hand", &[("hand.txt", 0o100_644, b"mine")]);
    let job = service.work("1").await;
    let Some(Outcome::Abstained { why: Abstained::Unpublishable { what } }) = &job.outcome else {
        panic!("{:?}", job.outcome)
    };
    assert!(what.contains("which this Patchwright does not know; delete or rename the branch"), "{what}");
    assert_eq!(service.repo.tip("patchwright/sentry-1"), Some(theirs));
    assert!(!service.history(job.id).await.contains("agent `test` starts"), "an agent was paid for nothing");
    assert!(github(&service).pulls("acme/web").is_empty());
}
