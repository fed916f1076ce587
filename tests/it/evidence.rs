//! What the context stage makes of Sentry's answers, of deliveries and of a repository, good and bad.
//!
//! Invariant: Sentry is a stand-in on loopback and git is real; nothing here waits for a clock.

use std::path::Path;
use std::sync::Arc;

use patchwright::alert::{Alert, Reason};
use patchwright::clock;
use patchwright::context::{FromTracker, Setback, code, from_tracker, suspects};
use patchwright::evidence::{CodeExcerpt, Event, Exception, Found, Frame};
use patchwright::outcome::Outcome;
use patchwright::redact::Redactor;
use patchwright::store::Delivery;
use serde_json::{Value, json};

use crate::fake::sentry::{FakeSentry, Fault};
use crate::git::fixture::{Repo, Side};

const EVENT: &str = "0123456789abcdef0123456789abcdef";

fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn api_event() -> Value {
    data(include_str!("../data/sentry/api/event.json"))
}

async fn tracker() -> FakeSentry {
    let fake = FakeSentry::start().await;
    fake.issue("acme", "web", "101")
        .short_id("WEB-2T")
        .event(api_event())
        .trace(data(include_str!("../data/sentry/api/trace.json")))
        .committers(data(include_str!("../data/sentry/api/committers.json")));
    fake.release("acme", "shop@1.2.0", data(include_str!("../data/sentry/api/release.json")));
    fake
}

fn alert(event_id: Option<&str>) -> Alert {
    Alert {
        source: "sentry".to_owned(),
        org: "acme".to_owned(),
        project: "web".to_owned(),
        issue: "101".to_owned(),
        reason: Reason::New,
        short_id: None,
        title: "Error".to_owned(),
        level: None,
        environment: None,
        release: None,
        event_id: event_id.map(str::to_owned),
        web_url: None,
    }
}

fn delivery(body: &Value) -> Delivery {
    Delivery {
        id: 1,
        source: "sentry".to_owned(),
        resource: "event_alert".to_owned(),
        received_at: clock::from_millis(1_772_359_200_000),
        body: body.to_string().into_bytes(),
        outcome: Outcome::Cancelled,
        job: None,
    }
}

fn delivered() -> Delivery {
    delivery(&json!({ "data": { "event": { "event_id": EVENT, "title": "As delivered" } } }))
}

fn gaps(found: &FromTracker) -> Vec<String> {
    found.gaps.iter().map(|gap| format!("{}: {}", gap.part, gap.why)).collect()
}

#[tokio::test]
async fn with_everything_there_nothing_is_missing_and_the_trace_is_looked_for_around_the_event() {
    let fake = tracker().await;
    let found = from_tracker(&fake.client(), &alert(None), &[delivered()], &[]).await.unwrap();
    assert_eq!(found.event.value().unwrap().title, "ZeroDivisionError: division by zero");
    assert!(found.trace.value().is_some() && found.suspects.value().is_some() && found.release_commit.is_some());
    assert_eq!(gaps(&found), Vec::<String>::new());
    let trace = fake.log().into_iter().find(|asked| asked.path.contains("/trace/")).unwrap();
    assert_eq!(trace.query, "start=2026-02-28T10%3A00%3A00Z&end=2026-03-02T10%3A00%3A00Z");
}

#[tokio::test]
async fn a_tracker_that_is_down_is_waited_for_where_no_delivery_holds_the_event() {
    let fake = tracker().await;
    fake.fault("/", 99, Fault::Status(503, json!({})));
    let alone = from_tracker(&fake.client(), &alert(None), &[], &[]).await;
    assert!(matches!(alone, Err(Setback::Wait { .. })), "{alone:?}");
    let issue_only = delivery(&json!({ "data": { "issue": { "id": "101", "title": "As delivered" } } }));
    assert!(matches!(from_tracker(&fake.client(), &alert(None), &[issue_only], &[]).await, Err(Setback::Wait { .. })));
    let found = from_tracker(&fake.client(), &alert(None), &[delivered()], &[]).await.unwrap();
    assert_eq!(found.event.value().unwrap().title, "As delivered");
    assert!(gaps(&found)[0].starts_with("event: it is the one that was delivered, since Sentry did not answer"));
}

#[tokio::test]
async fn a_refused_token_stops_the_job_and_is_named_where_no_delivery_holds_the_event() {
    let fake = tracker().await;
    fake.token("another");
    match from_tracker(&fake.client(), &alert(None), &[], &[]).await {
        Err(Setback::Refused { why }) => assert!(why.contains("renew SENTRY_AUTH_TOKEN"), "{why}"),
        other => panic!("{other:?}"),
    }
    let found = from_tracker(&fake.client(), &alert(None), &[delivered()], &[]).await.unwrap();
    assert!(gaps(&found)[0].contains("renew SENTRY_AUTH_TOKEN"), "{:?}", found.gaps);
}

#[tokio::test]
async fn a_rate_limit_on_what_an_agent_can_do_without_stops_nothing() {
    let fake = tracker().await;
    for part in ["/trace/", "/committers/", "/releases/"] {
        fake.fault(part, 1, Fault::Limited(600));
    }
    let found = from_tracker(&fake.client(), &alert(None), &[], &[]).await.unwrap();
    assert!(found.event.value().is_some());
    for why in [found.trace.why_missing(), found.suspects.why_missing()] {
        assert!(why.unwrap().contains("limits the rate"), "{why:?}");
    }
    assert!(gaps(&found)[0].starts_with("commit of the release: Sentry limits the rate"), "{:?}", found.gaps);
}

#[tokio::test]
async fn an_event_that_is_gone_is_replaced_by_the_latest_which_is_said() {
    let fake = tracker().await;
    let gone = "ab".repeat(16);
    let found = from_tracker(&fake.client(), &alert(Some(&gone)), &[], &[]).await.unwrap();
    assert_eq!(found.event.value().unwrap().id, EVENT);
    assert!(gaps(&found)[0].contains(&gone) && gaps(&found)[0].contains("the latest one"), "{:?}", found.gaps);
}

#[tokio::test]
async fn a_payload_that_is_an_event_or_an_issue_of_the_api_is_evidence() {
    let fake = FakeSentry::start().await;
    let client = fake.client_with(None);
    let wrapped = delivery(&json!({ "requested_at": "now", "payload": api_event() }));
    let found = from_tracker(&client, &alert(None), &[wrapped], &[]).await.unwrap();
    assert_eq!(found.event.value().unwrap().exceptions[0].kind, "ZeroDivisionError");
    let issue = json!({ "id": "101", "shortId": "WEB-2T", "title": "Bare", "project": { "slug": "web" } });
    let found = from_tracker(&client, &alert(None), &[delivery(&json!({ "payload": issue }))], &[]).await.unwrap();
    assert_eq!(found.issue.value().unwrap().title, "Bare");
    assert_eq!(found.trace.why_missing(), Some("there is no event to take a trace id from"));
}

#[tokio::test]
async fn secrets_go_before_values_are_cut_or_printed() {
    let token = format!("ghp_{}", "a1".repeat(18));
    let fake = FakeSentry::start().await;
    let mut event = api_event();
    event["contexts"]["billing"] = json!({ "credentials": { "user": "u-secret", "codes": ["c-secret"] } });
    event["entries"][0]["data"]["values"][0]["stacktrace"]["frames"][1]["vars"] = json!({
        "long": format!("{}{token}", "x".repeat(1010)),
        "config": { "credentials": { "user": "v-secret" } },
    });
    fake.issue("acme", "web", "101").event(event);
    let client = fake.client().with_redactor(Arc::new(Redactor::default()));
    let found = from_tracker(&client, &alert(None), &[], &[]).await.unwrap();
    let all = serde_json::to_string(&found.event).unwrap();
    assert!(!all.contains("ghp_") && !all.contains("-secret") && all.contains("xxx"), "{all}");
    let event = found.event.value().unwrap();
    assert!(event.more.iter().any(|(name, _)| name == "context billing"), "{:?}", event.more);
    assert!(event.raw.contains("\"billing\"") && !event.raw.contains("customer@example.com"), "{}", event.raw);
}

fn frame(abs_path: &str, line: u32, seen: &str) -> Frame {
    Frame {
        abs_path: Some(abs_path.to_owned()),
        line: Some(line),
        in_app: true,
        source: vec![(line, seen.to_owned())],
        ..Frame::default()
    }
}

async fn located(repo: &Repo, side: &Side, frames: Vec<Frame>) -> Vec<CodeExcerpt> {
    let mirror = side.mirror_of(repo).await;
    let event = Event { exceptions: vec![Exception { frames, ..Exception::default() }], ..Event::default() };
    code::locate(&mirror, &repo.tip("main").unwrap(), None::<&Path>, &event).await.unwrap().excerpts
}

#[tokio::test]
async fn a_file_that_shares_only_its_name_with_the_frame_is_shown_only_where_its_line_agrees() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("src/shop/utils.py", "one\ntwo\n"), ("src/bin.dat", "a\n\0b\n")]);
    let frames = vec![frame("/srv/other/utils.py", 1, "something else"), frame("/x/src/bin.dat", 1, "a")];
    assert_eq!(located(&repo, &side, frames).await, []);
    let shown = located(&repo, &side, vec![frame("/srv/other/utils.py", 2, "two")]).await;
    assert_eq!((shown.len(), shown[0].matches_event), (1, Some(true)));
}

#[tokio::test]
async fn only_lines_that_a_commit_is_known_to_have_changed_are_blamed_on_it() {
    let (repo, side) = (Repo::new(), Side::new());
    repo.commit("first", &[("src/a.py", "one\n\n\n\n\ntwo\n")]);
    for n in 0..5 {
        repo.commit("more", &[("b.txt", &format!("{n}\n"))]);
    }
    let head = repo.tip("main").unwrap();
    let mirror = side.mirror_of(&repo).await;
    let shown = located(&repo, &side, vec![frame("/x/src/a.py", 6, "two")]).await;
    let unknown = || Found::missing("no token");
    let (found, _) = suspects::join(&mirror, &head, &shown, unknown(), 2).await;
    assert_eq!(found.why_missing(), Some("no token, and no line of an in-app frame could be blamed"));
    let (found, gaps) = suspects::join(&mirror, &head, &shown, unknown(), suspects::HISTORY).await;
    assert_eq!(found.value().unwrap()[0].subject, "first");
    assert_eq!(gaps[0].why, "none are Sentry's: no token");
    let differs = located(&repo, &side, vec![frame("/x/src/a.py", 6, "three")]).await;
    let (found, _) = suspects::join(&mirror, &head, &differs, unknown(), suspects::HISTORY).await;
    assert!(found.value().is_none(), "{found:?}");
}
