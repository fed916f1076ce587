//! What each answer in GitHub's repertoire becomes.
//!
//! Invariant: one row, one answer; the advice in a sentence is checked by the words that a person would act on.

use super::*;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Answer { status, headers, body: body.to_owned() }
}

fn action() -> Action {
    let what = "open a pull request in acme/web".to_owned();
    Action { what, signed_in: true }
}

fn message(text: &str) -> String {
    serde_json::json!({ "message": text, "documentation_url": "https://docs.github.example" }).to_string()
}

/// The variant's name, which is what a caller decides by.
fn variant(error: &ForgeError) -> String {
    let debug = format!("{error:?}");
    debug.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn every_answer_becomes_the_callers_decision_and_a_sentence_to_act_on() {
    let table: [(Answer, &str, &str); 15] = [
        (answer(401, &[], &message("Bad credentials")), "Unauthorized", "wrong, expired or revoked"),
        (
            answer(403, &[], &message("Resource not accessible by personal access token")),
            "Forbidden",
            "(Resource not accessible by personal access token); give the token *Pull requests: write* and",
        ),
        (
            answer(403, &[("x-accepted-github-permissions", "pull_requests=write")], &message("No")),
            "Forbidden",
            "GitHub asks for `pull_requests=write`",
        ),
        (answer(403, &[("x-github-sso", "required; url=https://x")], &message("SAML")), "Forbidden", "Configure SSO"),
        (answer(403, &[], &message("Repository was archived so is read-only.")), "Refused", "unarchive"),
        (answer(404, &[("x-github-request-id", "AB:12")], &message("Not Found")), "NotFound", "request AB:12"),
        (answer(409, &[], &message("Git Repository is empty.")), "Unavailable", "trying again later"),
        (answer(410, &[], &message("Issues are disabled for this repo")), "NotFound", "Issues are disabled"),
        (answer(422, &[], &message("Validation Failed")), "Refused", "Validation Failed"),
        (answer(451, &[], &message("Repository access blocked")), "Forbidden", "access blocked"),
        (answer(307, &[], &message("Moved Permanently")), "Unavailable", "present name"),
        (answer(408, &[], ""), "Unavailable", "408"),
        (answer(502, &[], "<html><body>Unicorn!</body></html>"), "Unavailable", "502 (an HTML page)"),
        (answer(503, &[], &message("Service unavailable")), "Unavailable", "GitHub's side"),
        (answer(403, &[], &message("You have exceeded a secondary rate limit.")), "RateLimited", "the limit ends at "),
    ];
    for (answer, expected, words) in table {
        let error = answer.refusal(&action());
        assert_eq!(variant(&error), expected, "{answer:?}");
        let text = error.to_string();
        assert!(text.starts_with("cannot open a pull request in acme/web: GitHub answered "), "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn whatever_call_fails_the_advice_names_both_permissions() {
    let action = Action { what: "list the pull requests of acme/web".to_owned(), signed_in: true };
    for status in [401, 403, 404] {
        let error = answer(status, &[], &message("No")).refusal(&action).to_string();
        assert!(error.contains("*Pull requests: write*") && error.contains("*Contents: write*"), "{error}");
    }
}

#[test]
fn without_a_token_the_sentence_says_where_to_put_one() {
    let action = Action { signed_in: false, ..action() };
    for status in [401, 403, 404] {
        let error = answer(status, &[], &message("Requires authentication")).refusal(&action);
        assert_eq!(variant(&error), "Unauthorized");
        assert!(error.to_string().contains("set GITHUB_TOKEN"), "{error}");
    }
}

#[test]
fn a_rate_limit_waits_for_what_it_names_and_for_a_minute_where_it_names_nothing() {
    let now = crate::clock::now();
    let wait = |answer: Answer| answer.retry_at(now).map(|at| (at - now).num_seconds());
    let in_90 = (now + TimeDelta::seconds(91)).timestamp().to_string();
    let date = (now + TimeDelta::seconds(120)).to_rfc2822();
    let spent = |reset: &'static str| vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
    for status in [403, 429] {
        assert_eq!(wait(answer(status, &[("retry-after", "30")], "")), Some(30));
        let reset = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", in_90.as_str())];
        assert!(matches!(wait(answer(status, &reset, "")), Some(89..=91)));
        assert_eq!(wait(answer(status, &[], &message("You have exceeded a secondary rate limit"))), Some(60));
        assert_eq!(wait(answer(status, &[], &message("API rate limit exceeded for user"))), Some(60));
        assert!(matches!(wait(answer(status, &[("retry-after", &date)], "")), Some(118..=120)));
        // Nonsense neither overflows nor parks a job for ever.
        assert_eq!(wait(answer(status, &[("retry-after", "4294967295")], "")), Some(3600));
        assert_eq!(wait(answer(status, &[("retry-after", "soon")], "")), Some(60));
        assert_eq!(wait(answer(status, &spent("9223372036854775807"), &message("API rate limit exceeded"))), Some(60));
        assert_eq!(wait(answer(status, &spent("0"), "")), Some(1));
    }
    assert_eq!(wait(answer(429, &[], "")), Some(60));
    assert_eq!(wait(answer(403, &[], &message("Resource not accessible"))), None);
    assert_eq!(wait(answer(503, &[("retry-after", "30")], "")), None);
}

#[test]
fn details_of_a_validation_error_are_quoted_in_whatever_form_they_come() {
    let body = r#"{"message":"Validation Failed","errors":[
        {"resource":"PullRequest","code":"custom","message":"No commits between main and fix"},
        {"resource":"PullRequest","field":"head","code":"invalid"}, "plain text", 7]}"#;
    assert_eq!(
        answer(422, &[], body).reason(),
        "Validation Failed: No commits between main and fix: head invalid: plain text"
    );
}

#[test]
fn a_quote_is_one_short_line_whatever_was_sent() {
    assert_eq!(quote("a\r\n\tb\u{1b}[31mc"), "a b [31mc");
    assert_eq!(quote(&"ü ".repeat(100_000)).chars().filter(|c| *c == 'ü').count(), QUOTE);
}

#[test]
fn a_success_that_is_not_json_points_at_the_address() {
    let error = answer(200, &[], "<html>login</html>").read::<serde_json::Value>(&action()).expect_err("not JSON");
    assert!(error.to_string().contains("forge.api_url"), "{error}");
}
