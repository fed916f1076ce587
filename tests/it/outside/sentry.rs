//! Evidence from Sentry's API, and what a job does without it.
//!
//! Invariant: what reached the agent is copied out by the agent itself.

use std::path::Path;

use patchwright::outcome::{Ignored, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::sentry::{Fault, TOKEN};
use crate::program::{Described, FIXER, Service, alert};

/// An agent that copies its prompt and its context folder out before it works.
fn copying(out: &TempDir) -> Described {
    let out = out.path().display();
    let script = format!("cat > {out}/prompt; cat \"$PATCHWRIGHT_CONTEXT_DIR\"/* > {out}/context\n{FIXER}");
    Described::with_agent(&script)
}

fn text(out: &TempDir, name: &str) -> String {
    std::fs::read_to_string(out.path().join(name)).unwrap()
}

fn know_issue(service: &Service) {
    let head = service.repo.tip("main").unwrap();
    let issue = service.sentry.as_ref().unwrap().issue("acme", "web", "1").short_id("WEB-1F");
    issue.field("count", json!("4711")).event(super::event("1"));
    issue.trace(json!([{
        "event_id": "aaaabbbbccccdddd", "description": "GET /divide-in-trace", "op": "http.server", "duration": 12.0,
        "start_timestamp": 1.0, "end_timestamp": 1.012, "project_slug": "gateway", "is_transaction": true,
        "children": [], "errors": [], "occurrences": [],
    }]));
    issue.committers(json!({ "committers": [{
        "author": { "name": "Ada Example", "email": "ada@example.test" },
        "commits": [{ "id": head, "message": "Say what it does", "suspectCommitType": "via commit in release" }],
    }] }));
}

#[tokio::test]
async fn what_the_api_knows_reaches_the_prompt_and_the_pull_request() {
    let out = tempfile::tempdir().unwrap();
    let service = copying(&out).with_sentry().start().await;
    know_issue(&service);
    let job = service.work("1").await;
    let history = service.history(job.id).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}\n{history}", job.outcome);
    let (prompt, context, body) = (text(&out, "prompt"), text(&out, "context"), service.pull_request_body(1));
    for evidence in ["WEB-1F", "4711", "DivisionByZero", "divide-in-trace", "Say what it does"] {
        assert!(prompt.contains(evidence) && context.contains(evidence), "`{evidence}` is missing:\n{prompt}");
    }
    for evidence in ["WEB-1F", "DivisionByZero", "Say what it does"] {
        assert!(body.contains(evidence), "`{evidence}` is missing:\n{body}");
    }
    assert!(body.trim_end().ends_with("\n\nFixes WEB-1F"), "{body}");
}

#[tokio::test]
async fn without_answers_from_the_api_the_job_goes_on_and_says_what_is_missing() {
    for status in [401, 403, 404] {
        let out = tempfile::tempdir().unwrap();
        let service = copying(&out).with_sentry().start().await;
        know_issue(&service);
        let fault = Fault::Status(status, json!({ "detail": "no" }));
        service.sentry.as_ref().unwrap().fault("/", 1_000, fault);
        let job = service.work("1").await;
        let history = service.history(job.id).await;
        assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{status}: {:?}\n{history}", job.outcome);
        assert!(text(&out, "prompt").contains("DivisionByZero"), "{status}");
        let (_, missing) =
            text(&out, "context").split_once("## Missing").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(missing.contains("- trace: "), "{status}: {missing}");
        assert!(history.contains("context trace: missing, "), "{status}: {history}");
        assert!(!history.contains(TOKEN), "{status}");
    }
}

/// A new issue, told by a webhook that knows no event.
fn created(issue: &str) -> Value {
    json!({ "action": "created", "data": { "issue": {
        "id": issue, "title": "DivisionByZero: division by 0", "level": "error", "issueCategory": "error",
        "project": { "slug": "web" }, "permalink": format!("https://sentry.example/organizations/acme/issues/{issue}/"),
    } } })
}

#[tokio::test]
async fn an_alert_without_an_event_stands_for_the_newest_one_in_the_projects_environments() {
    let service = Described::with_agent(FIXER).project("environments = [\"production\"]").with_sentry().start().await;
    let event = |id: char, environment: &str| {
        let mut event = super::event("1");
        event["eventID"] = id.to_string().repeat(32).into();
        event["tags"][0]["value"] = environment.into();
        event
    };
    let sentry = service.sentry.as_ref().unwrap();
    sentry.issue("acme", "web", "1").event(event('a', "production")).event(event('b', "staging"));
    sentry.issue("acme", "web", "2").event(event('c', "staging"));
    let both = service.done(service.post("issue", &created("1")).await.job()).await;
    assert!(matches!(both.outcome, Some(Outcome::Opened { .. })), "{}", service.history(both.id).await);
    let staging = service.done(service.post("issue", &created("2")).await.job()).await;
    let expected = Outcome::Ignored { why: Ignored::Environment { environment: "staging".into() } };
    assert_eq!(staging.outcome, Some(expected));
}

#[tokio::test]
async fn an_issue_that_turns_out_to_be_no_error_is_not_given_to_an_agent() {
    let service = Described::with_agent(FIXER).with_sentry().start().await;
    let issue = service.sentry.as_ref().unwrap().issue("acme", "web", "1").field("issueCategory", json!("outage"));
    issue.event(super::event("1"));
    let job = service.work("1").await;
    let Some(Outcome::Ignored { why }) = &job.outcome else { panic!("{:?}", job.outcome) };
    assert!(why.to_string().contains("it is an outage"), "{why}");
}

#[tokio::test]
async fn a_short_limit_of_sentrys_is_waited_out() {
    let out = tempfile::tempdir().unwrap();
    let service = copying(&out).with_sentry().start().await;
    know_issue(&service);
    service.sentry.as_ref().unwrap().fault("/issues/1/", 1, Fault::Limited(1));
    let job = service.work("1").await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{}", service.history(job.id).await);
    assert!(text(&out, "prompt").contains("WEB-1F"));
}

#[tokio::test]
async fn a_server_that_breaks_down_for_a_moment_is_asked_again() {
    let out = tempfile::tempdir().unwrap();
    let service = copying(&out).with_sentry().start().await;
    know_issue(&service);
    service.sentry.as_ref().unwrap().fault("/trace/", 1, Fault::Status(503, json!({ "detail": "down" })));
    let job = service.work("1").await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{}", service.history(job.id).await);
    assert!(text(&out, "prompt").contains("divide-in-trace"));
}

/// Whether a file holds a text.
fn holds(file: &Path, text: &str) -> bool {
    std::fs::read(file).unwrap_or_default().windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn secrets_in_an_event_reach_neither_prompt_nor_context_nor_database_nor_log_nor_pull_request() {
    let out = tempfile::tempdir().unwrap();
    let model_key = "sk-the-known-model-key-0123456789";
    let described = copying(&out).on_github().agent_keys("pass_env = [\"MODEL_KEY\"]");
    let service = described.environment("MODEL_KEY", model_key).environment("PATCHWRIGHT_LOG", "debug").start().await;
    let github_token = service.github.as_ref().unwrap().token();
    let (header, password) = ("canary-of-an-authorization-header", "canary-of-a-password-field");
    let mut alert = alert("1", "rule");
    let event = &mut alert["data"]["event"];
    event["request"] = json!({
        "url": "https://shop.example/pay", "method": "POST",
        "headers": [["Authorization", format!("Bearer {header}")], ["Accept", "a/visible-header"]],
        "data": { "password": password, "amount": "7" },
    });
    event["exception"]["values"][0]["value"] = format!("division by 0 with {github_token} and {model_key}").into();
    event["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"]["password"] = password.into();
    event["breadcrumbs"] = json!({ "values": [{ "category": "http", "message": format!("sent {model_key}") }] });
    let answer = service.post("event_alert", &alert).await;
    let job = service.done(answer.job()).await;
    service.nothing_left().await;
    let history = service.history(job.id).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}\n{history}", job.outcome);
    assert!(text(&out, "context").contains("division by 0 with"), "the event did not arrive");
    let pull = &service.github.as_ref().unwrap().pulls("acme/web")[0];
    let shown =
        [text(&out, "prompt"), text(&out, "context"), service.log(), history, pull.body.clone(), pull.title.clone()];
    for secret in [github_token, model_key, header, password] {
        for (place, text) in ["prompt", "context", "log", "history", "body", "title"].iter().zip(&shown) {
            assert!(!text.contains(secret), "`{secret}` is in the {place}:\n{text}");
        }
        for file in ["patchwright.db", "patchwright.db-wal"] {
            assert!(!holds(&service.folder().join("data").join(file), secret), "`{secret}` is in {file}");
        }
    }
}
