//! Redaction, as properties over arbitrary text.
//!
//! Invariant: each property fails if one of the layers is taken away.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use patchwright::evidence::{Breadcrumb, Event, Exception, Frame, Suspect};
use patchwright::outcome::{Abstained, Outcome};
use patchwright::redact::{Redacted, Redactor};
use proptest::prelude::*;
use serde_json::json;

/// Pieces of text that the layers react to, whole and broken.
fn fragment() -> impl Strategy<Value = String> {
    let pieces = [
        "password=",
        "token: ",
        "\"secret\": \"",
        "\"",
        "'",
        "\\",
        "\n",
        " ",
        ":",
        "=",
        "&",
        "[redacted:key]",
        "[redacted:",
        "]",
        "Bearer ",
        "is ",
        "missing",
        "[",
        "\u{200b}",
        "Cookie: ",
        "https://user:",
        "https://token:",
        "@host/x",
        "ada@example.com",
        "203.0.113.9",
        "eyJhbGciOiJI.eyJzdWIiOiIx.sig",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "self.token",
        "4111 1111 1111 1111",
        "hunter2",
        "correct horse battery staple",
        "Zm9v",
        "é",
        "🐛",
        ",",
        ";",
        "(",
        ")",
    ];
    prop_oneof![4 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..24).prop_map(|pieces| pieces.concat())
}

/// The part of a base64 text that bytes `from..to` alone decide.
fn core(encoded: &str, from: usize, to: usize) -> &str {
    &encoded[(from * 8).div_ceil(6)..to * 8 / 6]
}

proptest! {
    #[test]
    fn no_known_secret_survives_in_any_encoding(
        secret in "\\PC{8,40}", before in "[ -~]{0,9}", after in "[ -~]{0,9}",
    ) {
        let redactor = Redactor::new(&[&secret]);
        let framed = format!("{before}{secret}{after}");
        let (from, to) = (before.len(), before.len() + secret.len());
        let (standard, url_safe) = (STANDARD.encode(&framed), URL_SAFE.encode(&framed));
        let quoted = json!(secret).to_string();
        let escaped = quoted.trim_start_matches('"').trim_end_matches('"').to_owned();
        let forms = [
            (framed.clone(), secret.clone()),
            (json!(framed).to_string(), quoted[1..quoted.len() - 1].to_owned()),
            (json!(quoted).to_string(), json!(escaped).to_string().trim_matches('"').to_owned()),
            (hex::encode(&framed), hex::encode(&secret)),
            (hex::encode_upper(&framed), hex::encode_upper(&secret)),
            (url::form_urlencoded::byte_serialize(framed.as_bytes()).collect(), url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()),
            (standard.clone(), core(&standard, from, to).to_owned()),
            (url_safe.clone(), core(&url_safe, from, to).to_owned()),
        ];
        for (dirty, needle) in forms {
            let clean = redactor.text(&dirty);
            prop_assert!(!clean.as_str().contains(&needle), "{needle:?} is still in {:?}", clean.as_str());
        }
    }

    #[test]
    fn a_second_pass_changes_nothing(text in text()) {
        let redactor = Redactor::new(&["correct horse battery staple", "hunter2-hunter2"]);
        let once = redactor.text(&text);
        prop_assert_eq!(redactor.text(once.as_str()), once);
        let once = redactor.personal(&text);
        prop_assert_eq!(redactor.personal(once.as_str()), once);
    }

    #[test]
    fn clean_prose_is_left_as_it_is(
        words in prop::collection::vec(
            prop_oneof![
                4 => "[A-Za-z]{1,12}[.,;!?]?",
                1 => "(KeyError|line|reason|the value): [A-Za-z]{1,12}[.,;!?]?",
                1 => "[A-Za-z]{1,12} (token|session|auth|password|Authorization): [a-z]{1,12} [a-z]{1,12}[.,;!?]?",
            ],
            0..40,
        ),
    ) {
        let prose = format!("Error {}", words.join(" "));
        let redactor = Redactor::new(&["correct horse battery staple"]);
        prop_assert_eq!(redactor.personal(&prose).into_inner(), prose);
    }

    #[test]
    fn a_known_secret_is_found_inside_of_any_json(text in text(), key in "[a-z]{1,8}") {
        let secret = "correct horse battery staple";
        let value = json!({ "list": [{ key: format!("{text}{secret}") }], secret: 1 });
        let clean = Redactor::new(&[secret]).json(value).get().to_string();
        prop_assert!(!clean.contains(secret), "{clean}");
    }
}

#[test]
fn locals_and_breadcrumbs_of_an_event_lose_their_secrets_and_its_structure_stays() {
    let event = Event {
        id: "e1".into(),
        title: "login failed for ada@example.com".into(),
        exceptions: vec![Exception {
            frames: vec![Frame {
                line: Some(7),
                locals: vec![("password".into(), "'hunter2'".into()), ("count".into(), "3".into())],
                source: vec![(7, "token = get_token(user)".into())],
                ..Frame::default()
            }],
            ..Exception::default()
        }],
        breadcrumbs: vec![Breadcrumb {
            data: Some(r#"{"url":"/login?token=abc123","status":500}"#.into()),
            ..Breadcrumb::default()
        }],
        tags: vec![("user".into(), "ip:203.0.113.9".into())],
        ..Event::default()
    };
    let clean = Redactor::default().personal_data(&event).unwrap().into_inner();
    assert_eq!(clean.title, "login failed for [email]");
    let frame = &clean.exceptions[0].frames[0];
    assert_eq!(
        frame.locals,
        [("password".to_owned(), "[redacted:key]".to_owned()), ("count".to_owned(), "3".to_owned())]
    );
    assert_eq!(frame.source, event.exceptions[0].frames[0].source);
    assert_eq!(clean.breadcrumbs[0].data.as_deref(), Some(r#"{"url":"/login?token=[redacted:key]","status":500}"#));
    assert_eq!(clean.tags, [("user".to_owned(), "ip:[ip]".to_owned())]);
}

#[test]
fn the_author_of_a_suspect_commit_stays_readable() {
    let suspect = Suspect { author: "Ada <ada@example.com>".into(), ..Suspect::default() };
    assert_eq!(*Redactor::default().data(&suspect).unwrap().get(), suspect);
}

#[test]
fn an_outcome_stays_the_same_kind_with_its_secrets_gone() {
    let what = "the agent printed key sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123".to_owned();
    let clean = Redactor::default().data(&Outcome::Abstained { why: Abstained::AgentFailed { what } }).unwrap();
    let what = "the agent printed key [redacted:model-key]".to_owned();
    assert_eq!(*clean.get(), Outcome::Abstained { why: Abstained::AgentFailed { what } });
}

#[test]
fn text_made_to_be_searched_again_and_again_takes_linear_time() {
    // With a search that starts over at every name these take minutes, not parts of a second.
    let deadline = std::time::Duration::from_secs(20);
    for piece in [
        "token:a.",
        "password=\"",
        "a@a.",
        "1.1.1.",
        "a:",
        "://x:",
        "eyJaaaaaaaa.",
        "-----BEGIN PRIVATE KEY",
        "4 1-1 ",
        "\\",
        "Bearer ",
    ] {
        let text = piece.repeat((256 << 10) / piece.len());
        let started = std::time::Instant::now();
        let clean: Redacted<String> = Redactor::new(&["correct horse battery staple"]).personal(&text);
        assert!(
            started.elapsed() < deadline,
            "{piece:?} took {:?} for {} bytes",
            started.elapsed(),
            clean.as_str().len()
        );
    }
}
