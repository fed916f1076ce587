//! The client of Sentry's API against a stand-in: what it brings home, what it refuses, and whom it tells its token.
//!
//! Invariant: real HTTP on loopback; no test waits longer than for an event.

use std::time::Duration;

use patchwright::alert::Reason;
use patchwright::clock;
use patchwright::source::sentry::api::{Sentry, SentryError};
use patchwright::source::sentry::locate;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::fake::sentry::{FakeSentry, Fault, TOKEN};

const EVENT: &str = "0123456789abcdef0123456789abcdef";
/// After which a test that should not wait has waited.
const DEADLINE: Duration = Duration::from_secs(10);
const TRACE: &str = "aaaabbbbccccddddeeeeffff00001111";

#[expect(clippy::unwrap_used, reason = "test data that is no JSON ends the test")]
fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A Sentry with one issue, about which it knows everything.
async fn with_an_issue() -> FakeSentry {
    let fake = FakeSentry::start().await;
    fake.issue("acme", "web", "101")
        .short_id("WEB-2T")
        .fields(&data(include_str!("../data/sentry/api/issue.json")))
        .event(json!({ "eventID": "ee".repeat(16), "title": "An older one" }))
        .event(data(include_str!("../data/sentry/api/event.json")))
        .trace(data(include_str!("../data/sentry/api/trace.json")))
        .committers(data(include_str!("../data/sentry/api/committers.json")));
    fake.release("acme", "shop@1.2.0", data(include_str!("../data/sentry/api/release.json")));
    fake
}

#[tokio::test]
async fn an_issue_is_found_by_its_id_and_by_its_short_id() {
    let fake = with_an_issue().await;
    let issue = fake.client().issue("acme", "101").await.unwrap();
    assert_eq!(issue.short_id.as_deref(), Some("WEB-2T"));
    assert_eq!((issue.substatus.as_deref(), issue.events, issue.users), (Some("regressed"), Some(42), Some(7)));
    assert_eq!(issue.last_release.as_deref(), Some("shop@1.2.0"));
    assert_eq!(fake.client().issue("acme", "WEB-2T").await.unwrap(), issue);
}

#[tokio::test]
async fn an_event_comes_with_its_stack_and_without_what_identifies_the_customer() {
    let fake = with_an_issue().await;
    let event = fake.client().event("acme", "101", "latest").await.unwrap();
    assert_eq!(event.id, EVENT);
    let frame = &event.exceptions[0].frames[0];
    assert_eq!((frame.function.as_deref(), frame.line, frame.in_app), (Some("average_price"), Some(3), true));
    assert_eq!(frame.locals, [("items".to_owned(), "[]".to_owned())]);
    assert_eq!((event.environment.as_deref(), event.release.as_deref()), (Some("production"), Some("shop@1.2.0")));
    let all = serde_json::to_string(&event).unwrap();
    assert!(
        !["customer@example.com", "192.0.2.7", "Cookie", "id:9"].iter().any(|personal| all.contains(personal)),
        "{all}"
    );
}

#[tokio::test]
async fn an_event_is_chosen_by_word_or_by_id() {
    let fake = with_an_issue().await;
    let client = fake.client();
    for (which, id) in [("oldest", "ee".repeat(16)), ("recommended", EVENT.to_owned()), (EVENT, EVENT.to_owned())] {
        assert_eq!(client.event("acme", "101", which).await.unwrap().id, id, "{which}");
    }
}

#[tokio::test]
async fn a_trace_shows_the_services_and_the_error_in_them() {
    let fake = with_an_issue().await;
    let trace = fake.client().trace("acme", TRACE, None).await.unwrap();
    assert_eq!(trace.id, TRACE);
    let root = &trace.roots[0];
    assert_eq!(root.errors, ["ZeroDivisionError: division by zero"]);
    let child = &root.children[0];
    assert_eq!((child.project.as_deref(), child.start_ms, child.duration_ms), (Some("prices"), 100.0, 100.0));
}

#[tokio::test]
async fn a_trace_that_comes_in_pages_is_put_together() {
    let fake = FakeSentry::start().await;
    let spans: Vec<_> =
        (0..5).map(|n| json!({ "event_id": format!("span{n}"), "description": n.to_string() })).collect();
    let event = json!({ "eventID": EVENT, "contexts": { "trace": { "trace_id": TRACE } } });
    fake.issue("acme", "web", "101").event(event).trace(json!(spans));
    fake.page_size(2);
    let trace = fake.client().trace("acme", TRACE, None).await.unwrap();
    let seen: Vec<_> = trace.roots.iter().filter_map(|span| span.description.as_deref()).collect();
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    assert_eq!(fake.count("/trace/"), 3);
}

#[tokio::test]
async fn an_old_trace_is_looked_for_around_its_event() {
    let fake = with_an_issue().await;
    let moment = clock::from_millis(1_772_359_200_000);
    fake.client().trace("acme", TRACE, Some(moment)).await.unwrap();
    let query = fake.log().pop().unwrap().query;
    assert_eq!(query, "start=2026-02-28T10%3A00%3A00Z&end=2026-03-02T10%3A00%3A00Z");
}

#[tokio::test]
async fn suspects_are_named_with_their_reason_and_nothing_found_is_no_error() {
    let fake = with_an_issue().await;
    let client = fake.client();
    let suspects = client.suspects("acme", "web", EVENT).await.unwrap();
    assert_eq!(suspects[0].commit, "1234567890".repeat(4));
    assert_eq!(
        (suspects[0].subject.as_str(), suspects[0].author.as_str()),
        ("Show the average price", "Robin Example")
    );
    assert_eq!(suspects[0].why, "Sentry: via SCM integration, in acme/shop");
    assert_eq!(client.suspects("acme", "web", &"00".repeat(16)).await.unwrap(), []);
}

#[tokio::test]
async fn the_commit_of_a_release_is_sentrys_else_the_one_in_the_version() {
    let fake = with_an_issue().await;
    let client = fake.client();
    assert_eq!(client.release_commit("acme", "shop@1.2.0").await.unwrap(), Some("abcdefabcd".repeat(4)));
    let version = format!("shop@2.0.0+{}", "0a".repeat(20));
    assert_eq!(client.release_commit("acme", &version).await.unwrap(), Some("0a".repeat(20)));
    assert_eq!(client.release_commit("acme", "shop@3.0.0").await.unwrap(), None);
    assert_eq!(fake.client_with(None).release_commit("acme", &version).await.unwrap(), Some("0a".repeat(20)));
}

#[tokio::test]
async fn a_short_id_leads_to_project_and_issue() {
    let fake = with_an_issue().await;
    let found = fake.client().short_id("acme", "WEB-2T").await.unwrap();
    assert_eq!(found, ("web".to_owned(), "101".to_owned()));
}

#[tokio::test]
async fn a_project_is_there_or_not() {
    let fake = with_an_issue().await;
    assert!(fake.client().project_exists("acme", "web").await.unwrap());
    assert!(!fake.client().project_exists("acme", "api").await.unwrap());
}

#[tokio::test]
async fn every_way_to_name_an_issue_gives_the_same_alert() {
    let fake = with_an_issue().await;
    let client = fake.client();
    let address = format!("{}/organizations/acme/issues/101/events/{EVENT}/?project=7", fake.url());
    for text in ["101", "web-2t", &address] {
        let alert = client.alert_for(&locate::parse(text, Some("acme")).unwrap()).await.unwrap();
        assert_eq!(
            (alert.source.as_str(), alert.org.as_str(), alert.project.as_str()),
            ("sentry", "acme", "web"),
            "{text}"
        );
        assert_eq!((alert.issue.as_str(), alert.issue_name().as_str()), ("101", "WEB-2T"), "{text}");
        assert_eq!((alert.reason, alert.level.as_deref()), (Reason::Requested, Some("error")), "{text}");
        let event = (text == address).then(|| EVENT.to_owned());
        assert_eq!(alert.event_id, event, "{text}");
    }
}

#[tokio::test]
async fn an_address_on_another_server_is_refused_and_nobody_is_asked() {
    let (fake, other) = (with_an_issue().await, with_an_issue().await);
    let address = format!("{}/organizations/acme/issues/101/", other.url());
    let reference = locate::parse(&address, None).unwrap();
    let error = fake.client().alert_for(&reference).await.unwrap_err();
    assert!(
        matches!(&error, SentryError::Reference(why) if why.contains(&other.url()) && why.contains("sentry.url")),
        "{error}"
    );
    assert_eq!((fake.log().len(), other.log().len()), (0, 0));
}

#[tokio::test]
async fn a_short_id_without_an_organisation_says_which_setting_is_missing() {
    let fake = with_an_issue().await;
    let error = fake.client().alert_for(&locate::parse("WEB-2T", None).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("SENTRY_ORG"), "{error}");
}

#[tokio::test]
async fn the_identity_tells_owner_scopes_and_all_organisations_of_all_pages() {
    let fake = FakeSentry::start().await;
    fake.organisations(&["acme", "beta", "gamma"]);
    fake.scopes(&["event:read", "org:read"]);
    fake.page_size(1);
    let identity = fake.client().identity().await.unwrap();
    assert_eq!(identity.text, "token of robin; scopes event:read, org:read; organisations acme, beta, gamma");
    assert_eq!(identity.lacking, ["project:read"]);
}

#[tokio::test]
async fn a_list_that_never_ends_is_read_for_ten_pages() {
    let fake = FakeSentry::start().await;
    let slugs: Vec<_> = (0..50).map(|n| format!("org{n}")).collect();
    fake.organisations(&slugs.iter().map(String::as_str).collect::<Vec<_>>());
    fake.page_size(1);
    fake.client().identity().await.unwrap();
    assert_eq!(fake.count("/organizations/"), 10);
}

#[tokio::test]
async fn without_a_token_nobody_is_asked() {
    let fake = with_an_issue().await;
    for client in [fake.client_with(None), fake.client_with(Some("  "))] {
        assert!(!client.has_token());
        assert!(matches!(client.issue("acme", "101").await, Err(SentryError::NoToken)));
    }
    assert!(fake.client().has_token());
    assert_eq!(fake.log().len(), 0);
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_named_as_the_thing_to_renew() {
    let fake = with_an_issue().await;
    fake.token("another");
    let error = fake.client().issue("acme", "101").await.unwrap_err();
    assert!(matches!(&error, SentryError::Unauthorized { detail, .. } if detail == "Invalid token"), "{error}");
    assert!(error.to_string().contains("SENTRY_AUTH_TOKEN") && !error.to_string().contains(TOKEN), "{error}");
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let fake = with_an_issue().await;
    fake.scopes(&["org:read"]);
    let client = fake.client();
    let scope = |error| match error {
        SentryError::Forbidden { scope, .. } => scope,
        other => panic!("{other}"),
    };
    assert_eq!(scope(client.issue("acme", "101").await.unwrap_err()), "event:read");
    assert_eq!(scope(client.suspects("acme", "web", EVENT).await.unwrap_err()), "project:read");
}

#[tokio::test]
async fn a_token_that_may_not_read_the_organisation_can_still_read_issues() {
    let fake = with_an_issue().await;
    fake.scopes(&["event:read"]);
    assert_eq!(fake.client().issue("acme", "101").await.unwrap().id, "101");
    let error = fake.client().trace("acme", TRACE, None).await.unwrap_err();
    assert!(matches!(error, SentryError::Forbidden { scope: "org:read", .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let fake = with_an_issue().await;
    let client = fake.client();
    for error in [client.issue("acme", "999").await.unwrap_err(), client.issue("nobody", "101").await.unwrap_err()] {
        assert!(matches!(error, SentryError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_short_rate_limit_is_waited_for() {
    let fake = with_an_issue().await;
    fake.limit_next(2, Duration::ZERO);
    assert_eq!(fake.client().issue("acme", "101").await.unwrap().id, "101");
    assert_eq!(fake.log().len(), 4);
}

#[tokio::test]
async fn a_long_rate_limit_is_handed_to_the_caller_with_its_end() {
    let fake = with_an_issue().await;
    let soon = clock::now() + chrono::TimeDelta::seconds(590);
    fake.limit_next(1, Duration::from_secs(600));
    let answer = tokio::time::timeout(DEADLINE, fake.client().issue("acme", "101")).await;
    match answer.expect("it does not wait for the limit to end").unwrap_err() {
        SentryError::RateLimited { retry_at, .. } => assert!(retry_at > soon, "{retry_at}"),
        other => panic!("{other}"),
    }
    assert_eq!(fake.log().len(), 1);
}

#[tokio::test]
async fn a_rate_limit_until_the_end_of_time_is_believed_for_an_hour() {
    let fake = with_an_issue().await;
    fake.limit_next(1, Duration::from_secs(4_000_000_000));
    let answer = tokio::time::timeout(DEADLINE, fake.client().issue("acme", "101")).await;
    match answer.expect("it does not wait for the limit to end").unwrap_err() {
        SentryError::RateLimited { retry_at, .. } => assert!(retry_at <= clock::now() + chrono::TimeDelta::hours(1)),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn waiting_for_a_rate_limit_ends_when_nobody_wants_the_answer() {
    let fake = with_an_issue().await;
    fake.limit_next(1, Duration::from_secs(15));
    let client = fake.client();
    let asked = async {
        while fake.log().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let waited = async {
        tokio::select! {
            answer = client.issue("acme", "101") => panic!("{answer:?}"),
            () = asked => {}
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.expect("the server is asked");
    assert_eq!(fake.log().len(), 1);
}

#[tokio::test]
async fn an_error_of_the_servers_own_is_tried_three_times() {
    let fake = with_an_issue().await;
    fake.fault("/issues/", 2, Fault::Status(503, json!({})));
    assert_eq!(fake.client().issue("acme", "101").await.unwrap().id, "101");
    fake.fault("/issues/", 9, Fault::Status(500, json!({ "detail": "Internal Error" })));
    let error = fake.client().issue("acme", "101").await.unwrap_err();
    assert!(matches!(&error, SentryError::Unavailable { tries: 3, why, .. } if why == "500 Internal Error"), "{error}");
    assert_eq!(fake.count("/issues/"), 6);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_after_the_time_out() {
    let fake = with_an_issue().await;
    fake.fault("/issues/", 9, Fault::Hang);
    let error = fake.client().with_timeout(Duration::from_millis(20)).issue("acme", "101").await.unwrap_err();
    assert!(matches!(&error, SentryError::Unavailable { why, .. } if why == "it took too long"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let fake = FakeSentry::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    drop(fake);
    let client = Sentry::new(&format!("http://{closed}"), Some(SecretString::from(TOKEN))).unwrap();
    let error = client.with_backoff(Duration::from_millis(1)).issue("acme", "101").await.unwrap_err();
    assert!(matches!(error, SentryError::Unavailable { tries: 3, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_too_large_is_not_used() {
    let fake = with_an_issue().await;
    for fault in [Fault::Garbage, Fault::Large(17 << 20)] {
        fake.fault("/issues/", 1, fault);
        let error = fake.client().issue("acme", "101").await.unwrap_err();
        assert!(matches!(error, SentryError::Unreadable { .. }), "{error}");
    }
}

#[tokio::test]
async fn json_of_the_wrong_kind_gives_poor_evidence_but_no_failure() {
    let fake = with_an_issue().await;
    fake.fault("/issues/", 1, Fault::Answer(json!([[[1], "x"], null])));
    assert_eq!(fake.client().event("acme", "101", "latest").await.unwrap().exceptions, []);
}

#[tokio::test]
async fn another_refusal_carries_status_and_sentrys_words_but_no_query() {
    let fake = with_an_issue().await;
    let words = format!("bad\u{202e}request {}", "x".repeat(5000));
    fake.fault("/trace/", 1, Fault::Status(400, json!({ "detail": words })));
    let error = fake.client().trace("acme", TRACE, None).await.unwrap_err();
    assert!(matches!(error, SentryError::Refused { status: 400, .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("badrequest") && text.contains(TRACE) && !text.contains("statsPeriod") && text.len() < 600,
        "{text}"
    );
}

#[tokio::test]
async fn the_region_is_asked_for_once_and_then_used() {
    let (fake, region) = (with_an_issue().await, with_an_issue().await);
    fake.region(Some(&region.url()));
    let client = fake.client();
    client.issue("acme", "101").await.unwrap();
    client.clone().suspects("acme", "web", EVENT).await.unwrap();
    assert_eq!((fake.count("/organizations/acme/"), fake.log().len()), (1, 1));
    assert_eq!((region.count("/issues/101/"), region.count("/committers/")), (1, 1));
}

#[tokio::test]
async fn without_a_region_or_with_one_that_may_not_have_the_token_the_base_is_used() {
    for region in [None, Some("https://us.sentry.example"), Some("http://192.0.2.1"), Some("not an address")] {
        let fake = with_an_issue().await;
        fake.region(region);
        assert_eq!(fake.client().issue("acme", "101").await.unwrap().id, "101", "{region:?}");
    }
}

#[tokio::test]
async fn a_redirect_within_the_server_is_followed_with_the_token() {
    let fake = with_an_issue().await;
    fake.fault("/issues/55/", 1, Fault::Redirect("/api/0/organizations/acme/issues/101/".to_owned()));
    assert_eq!(fake.client().issue("acme", "55").await.unwrap().id, "101");
}

#[tokio::test]
async fn a_redirect_to_another_server_is_not_followed() {
    let (fake, other) = (with_an_issue().await, with_an_issue().await);
    fake.fault("/issues/", 1, Fault::Redirect(format!("{}/api/0/organizations/acme/issues/101/", other.url())));
    let error = fake.client().issue("acme", "101").await.unwrap_err();
    assert!(matches!(&error, SentryError::Redirected { to, .. } if *to == other.url()), "{error}");
    assert_eq!(other.log().len(), 0);
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let fake = with_an_issue().await;
    fake.fault("/issues/", 99, Fault::Redirect("/api/0/organizations/acme/issues/101/".to_owned()));
    let error = fake.client().issue("acme", "101").await.unwrap_err();
    assert!(matches!(error, SentryError::Redirected { .. }), "{error}");
    assert!(fake.count("/issues/") <= 7, "{}", fake.count("/issues/"));
}

#[tokio::test]
async fn every_request_says_who_asks_and_carries_the_token_as_a_header() {
    let fake = with_an_issue().await;
    fake.client().issue("acme", "101").await.unwrap();
    for asked in fake.log() {
        assert_eq!(asked.agent.as_deref(), Some(concat!("patchwright/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(asked.authorization.as_deref(), Some(format!("Bearer {TOKEN}").as_str()));
        assert!(!asked.path.contains(TOKEN) && !asked.query.contains(TOKEN));
    }
}

#[tokio::test]
async fn hostile_names_are_refused_or_stay_in_their_segment() {
    let fake = with_an_issue().await;
    let client = fake.client();
    for name in ["..", ".", "", "../acme", "a/b", "a\\b", "x\ny", &"x".repeat(300)] {
        let refused = [
            client.issue(name, "101").await.map(drop),
            client.issue("acme", name).await.map(drop),
            client.event("acme", "101", name).await.map(drop),
            client.trace("acme", name, None).await.map(drop),
            client.suspects("acme", name, EVENT).await.map(drop),
            client.short_id("acme", name).await.map(drop),
            client.project_exists(name, "web").await.map(drop),
        ];
        assert!(refused.iter().all(|answer| matches!(answer, Err(SentryError::Name { .. }))), "{name:?}: {refused:?}");
    }
    assert_eq!(fake.log().len(), 0);
    for name in ["101?x=1", "101#x", "%2e%2e", "..%2f..", "101;a", "é"] {
        assert!(matches!(client.issue("acme", name).await, Err(SentryError::NotFound { .. })), "{name}");
    }
    let strayed = |path: &str| !path.starts_with("/api/0/organizations/acme/") || path.split('/').count() > 8;
    assert!(!fake.log().iter().any(|asked| strayed(&asked.path)), "{:?}", fake.log());
}

#[tokio::test]
async fn a_client_shows_no_token_when_it_is_printed() {
    let fake = FakeSentry::start().await;
    let shown = format!("{:?}", fake.client());
    assert!(shown.contains("Sensitive") && !shown.contains(TOKEN), "{shown}");
}

#[tokio::test]
async fn a_token_with_a_line_break_in_it_is_refused_without_being_shown() {
    let fake = FakeSentry::start().await;
    let error = Sentry::new(&fake.url(), Some(SecretString::from("sntryu_a\r\nX-Evil: 1"))).unwrap_err();
    assert!(matches!(error, SentryError::Token) && !error.to_string().contains("Evil"), "{error}");
}
