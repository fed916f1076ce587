//! What each kind of Sentry webhook means, over one synthetic body of every kind.
//!
//! Invariant: every file of `tests/data/sentry/webhooks` has its line in the table; its name begins with the resource.

use std::collections::BTreeSet;
use std::path::PathBuf;

use patchwright::alert::{Alert, Reason};
use patchwright::outcome::Ignored;
use patchwright::source::sentry::webhook::{BadPayload, Meaning, read, read_payload};
use serde_json::{Value, json};

const STARTS: [(&str, Reason); 10] = [
    ("event_alert.triggered.db_query", Reason::Rule),
    ("event_alert.triggered", Reason::Rule),
    ("event_alert.triggered.old_addresses", Reason::Rule),
    ("issue.created", Reason::New),
    ("issue.created.db_query", Reason::New),
    ("issue.unresolved.regressed", Reason::Regressed),
    ("issue.unresolved.regressed.permalink_only", Reason::Regressed),
    ("issue.unresolved.escalating", Reason::Escalating),
    ("activity_alert.triggered.status_regression", Reason::Regressed),
    ("activity_alert.triggered.status_escalating", Reason::Escalating),
];

/// And a word of the reason why not.
const STARTS_NOTHING: [(&str, &str); 21] = [
    ("event_alert.triggered.outage", "outage"),
    ("event_alert.triggered.cron", "scheduled task"),
    ("event_alert.triggered.feedback", "feedback"),
    ("issue.created.feedback", "feedback"),
    ("issue.created.outage", "outage"),
    ("issue.created.cron", "scheduled task"),
    ("issue.unresolved.reopened", "substatus `ongoing`"),
    ("issue.resolved", "resolved"),
    ("issue.assigned", "assigned"),
    ("issue.ignored", "archived"),
    ("issue.archived", "archived"),
    ("activity_alert.triggered.status_resolved", "activity `status_resolved`"),
    ("activity_alert.triggered.seer_coding_completed", "activity `seer_coding_completed`"),
    ("error.created", "start_on_error"),
    ("metric_alert.critical", "metric"),
    ("comment.created", "comments"),
    ("installation.created", "installed"),
    ("seer.root_cause_completed", "Sentry's own agent"),
    ("preprod_artifact.build_distribution_completed", "mobile build"),
    ("future_kind.happened", "not known"),
    ("issue.created.without_addresses", ""),
];

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/sentry/webhooks")
}

pub(super) fn body(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.json"))).unwrap()
}

fn json_of(name: &str) -> Value {
    serde_json::from_slice(&body(name)).unwrap()
}

pub(super) fn resource(name: &str) -> &str {
    name.split('.').next().unwrap()
}

fn meaning(name: &str) -> Result<Meaning, BadPayload> {
    read(resource(name), &body(name), None, false)
}

fn alert_of(meaning: Result<Meaning, BadPayload>) -> Alert {
    match meaning {
        Ok(Meaning::Work(alert)) => *alert,
        other => panic!("no work: {other:?}"),
    }
}

#[test]
fn every_body_on_file_is_in_one_of_the_tables() {
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".json").to_owned())
        .collect();
    let tables = STARTS.iter().map(|(name, _)| name).chain(STARTS_NOTHING.iter().map(|(name, _)| name));
    assert_eq!(files, tables.map(ToString::to_string).collect());
}

#[test]
fn every_kind_that_starts_a_job_names_organisation_project_issue_and_reason() {
    for (name, reason) in STARTS {
        let alert = alert_of(meaning(name));
        assert_eq!(
            (alert.org.as_str(), alert.project.as_str(), alert.issue.as_str()),
            ("acme", "checkout", "5550001"),
            "{name}"
        );
        assert_eq!((alert.reason, alert.title.as_str()), (reason, "KeyError: 'currency'"), "{name}");
        assert!(alert.web_url.unwrap().contains("5550001"), "{name}");
    }
}

#[test]
fn every_other_kind_is_closed_with_the_reason() {
    for (name, word) in STARTS_NOTHING.into_iter().filter(|(_, word)| !word.is_empty()) {
        match meaning(name) {
            Ok(Meaning::Close(Ignored::NotActionable { what })) => {
                assert!(what.starts_with(resource(name)) && what.contains(word), "{name}: {what}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_event_alert_carries_what_triage_needs() {
    let alert = alert_of(meaning("event_alert.triggered"));
    assert_eq!(alert.level.as_deref(), Some("error"));
    assert_eq!(alert.environment.as_deref(), Some("production"));
    assert_eq!(alert.release.as_deref(), Some("checkout@1.4.2"));
    assert_eq!(alert.event_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    let old = alert_of(meaning("event_alert.triggered.old_addresses"));
    assert_eq!((old.environment, old.release), (alert.environment, alert.release), "both are read from the tags, too");
}

#[test]
fn a_body_without_addresses_needs_the_configured_organisation() {
    let name = "issue.created.without_addresses";
    assert_eq!(meaning(name), Err(BadPayload::NoOrganisation { project: "checkout".to_owned() }));
    let alert = alert_of(read("issue", &body(name), Some("fallback"), false));
    assert_eq!((alert.org.as_str(), alert.short_id.as_deref()), ("fallback", Some("CHECKOUT-2A")));
}

#[test]
fn single_errors_start_jobs_only_where_configured() {
    let alert = alert_of(read("error", &body("error.created"), None, true));
    assert_eq!((alert.reason, alert.issue.as_str()), (Reason::New, "5550001"));
}

#[test]
fn a_header_that_the_signed_body_does_not_bear_out_is_refused() {
    for (header, name) in [
        ("event_alert", "issue.created"),
        ("issue", "event_alert.triggered"),
        ("error", "event_alert.triggered"),
        ("activity_alert", "issue.created"),
        ("comment", "issue.created"),
        ("seer", "event_alert.triggered"),
        ("issue", "comment.created"),
        ("issue", "activity_alert.triggered.status_regression"),
        ("unheard_of", "issue.created"),
        ("unheard_of", "event_alert.triggered"),
    ] {
        assert_eq!(read(header, &body(name), Some("acme"), true), Err(BadPayload::Mismatch), "{name} as {header}");
    }
}

#[test]
fn what_is_not_json_is_refused_without_repeating_it() {
    assert_eq!(read("issue", b"\xff", None, false), Err(BadPayload::NotUtf8));
    let latin1 = b"{\"action\":\"created\",\"ignored\":\"caf\xe9\"}";
    assert_eq!(read("issue", latin1, None, false), Err(BadPayload::NotUtf8), "in a field that is skipped, too");
    for broken in ["", "{", "{\"action\": hunter2}", "nul", &"[".repeat(100_000)] {
        let error = read("issue", broken.as_bytes(), None, false).unwrap_err();
        assert!(matches!(error, BadPayload::NotJson { .. }) && !error.to_string().contains("hunter2"), "{error}");
    }
    for other in ["[]", "7", "null", "{}", r#"{"data":7}"#, r#"{"action":"created","data":{"issue":[]}}"#] {
        assert!(read("issue", other.as_bytes(), None, false).is_err(), "{other}");
        assert!(matches!(read("unheard_of", other.as_bytes(), None, false), Ok(Meaning::Close(_))), "{other}");
    }
}

#[test]
fn json_that_the_evidence_could_not_be_read_from_is_refused_for_what_it_is() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for odd in ["1e999", r#""\ud800""#, &deep] {
        let body = format!(r#"{{"action":"happened","data":{{"thing":{odd}}}}}"#);
        let error = read("future_kind", body.as_bytes(), None, false).unwrap_err();
        assert!(matches!(error, BadPayload::Unreadable { line: 1, .. }), "{odd}: {error}");
    }
}

#[test]
fn a_field_of_an_odd_type_does_not_make_an_alert_unusable() {
    for (name, field) in [
        ("issue.created", "/data/activity"),
        ("issue.created", "/data/event"),
        ("event_alert.triggered", "/data/issue"),
        ("event_alert.triggered", "/data/error"),
        ("event_alert.triggered", "/data/event/occurrence"),
        ("event_alert.triggered", "/data/event/tags"),
    ] {
        for odd in [json!("text"), json!(7), json!([]), json!([{}]), json!(true)] {
            let mut body = json_of(name);
            let (parent, field) = field.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[field] = odd.clone();
            let alert = alert_of(read(resource(name), body.to_string().as_bytes(), None, false));
            assert_eq!(alert.issue, "5550001", "{name} with {odd} as {field}");
        }
    }
}

#[test]
fn ids_and_slugs_that_would_lead_an_address_astray_are_refused() {
    let with = |pointer: &str, value: Value| {
        let mut body = json_of("issue.created");
        *body.pointer_mut(pointer).unwrap() = value;
        read("issue", body.to_string().as_bytes(), None, false)
    };
    assert_eq!(alert_of(with("/data/issue/id", json!(5_550_001))).issue, "5550001");
    for bad in
        [json!("1/../2"), json!(""), json!(-1), json!(1.5), json!(null), json!("123456789012345678901"), json!({})]
    {
        assert_eq!(with("/data/issue/id", bad), Err(BadPayload::Missing { field: "issue.id" }));
    }
    for bad in [json!("a/b"), json!(".."), json!(""), json!(null), json!("a b")] {
        assert_eq!(with("/data/issue/project/slug", bad), Err(BadPayload::Missing { field: "issue.project.slug" }));
    }
    let alert = alert_of(with("/data/issue/title", json!(format!("a\u{1b}[2J\n{}", "é".repeat(400)))));
    assert!(alert.title.len() <= 300 && alert.title.starts_with("a[2J é"), "{}", alert.title);
    assert_eq!(alert_of(with("/data/issue/web_url", json!("javascript:alert(1)"))).web_url, None);
}

#[test]
fn a_field_that_comes_twice_is_refused_rather_than_chosen() {
    let twice = br#"{"action":"created","data":{"issue":{"id":"1","id":"2","project":{"slug":"checkout"}}}}"#;
    assert_eq!(read("issue", twice, Some("acme"), false), Err(BadPayload::Mismatch));
}

#[test]
fn a_payload_that_a_person_points_at_is_recognised_by_its_shape() {
    for (name, reason) in STARTS {
        assert_eq!(alert_of(read_payload(&body(name), None)).reason, reason, "{name}");
    }
    assert_eq!(alert_of(read_payload(&body("error.created"), None)).reason, Reason::New);
    assert_eq!(alert_of(read_payload(&body("issue.resolved"), None)).reason, Reason::Requested);
    let issue = json_of("issue.created")["data"]["issue"].to_string();
    let event = json_of("event_alert.triggered")["data"]["event"].to_string();
    for bare in [issue, event] {
        let alert = alert_of(read_payload(bare.as_bytes(), None));
        assert_eq!((alert.reason, alert.project.as_str()), (Reason::Requested, "checkout"));
    }
    let of_the_api = json!({ "eventID": "0f".repeat(16), "groupID": "101", "projectSlug": "checkout" }).to_string();
    assert_eq!(alert_of(read_payload(of_the_api.as_bytes(), Some("acme"))).project, "checkout");
    for name in ["metric_alert.critical", "comment.created", "future_kind.happened"] {
        assert!(matches!(read_payload(&body(name), None), Ok(Meaning::Close(_))), "{name}");
    }
}
