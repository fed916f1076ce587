//! Templates of an operator's own, right and wrong.
//!
//! Invariant: every mistake is an error that names the file.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

use std::fs;

use patchwright::prompt::Prompts;
use patchwright::redact::Redactor;

use super::contexts::{brief, clean, facts, full, prompt};

#[test]
fn the_built_in_templates_pass_their_own_check() {
    Prompts::load(None).unwrap().check().unwrap();
}

#[test]
fn a_folder_replaces_templates_by_name_and_the_rest_stay() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("parts")).unwrap();
    fs::write(dir.path().join("parts/rules.md.j2"), "Our own house rules.\n").unwrap();
    let prompts = Prompts::load(Some(dir.path())).unwrap();
    prompts.check().unwrap();
    let context = clean(&full());
    let text = prompts.fix(&Redactor::default(), &brief(&context, 96 << 10)).unwrap();
    assert!(text.as_str().contains("Our own house rules.") && text.as_str().contains("Find the root cause"));
}

fn error_with(name: &str, text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let error = Prompts::load(Some(dir.path())).and_then(|prompts| prompts.check()).unwrap_err();
    error.to_string().replace(&dir.path().display().to_string(), "DIR")
}

#[test]
fn a_file_that_replaces_nothing_is_an_error_that_names_the_nearest() {
    let error = error_with("pull-request.md.j2", "x");
    assert!(
        error.contains("DIR/pull-request.md.j2") && error.contains("nearest name is `pull_request.md.j2`"),
        "{error}"
    );
}

#[test]
fn a_template_that_does_not_parse_is_reported_with_file_and_line() {
    let error = error_with("fix.md.j2", "one\ntwo {% if %}\n");
    assert!(error.starts_with("DIR/fix.md.j2:2: "), "{error}");
}

#[test]
fn a_misspelt_variable_is_reported_with_file_and_line() {
    let error = error_with("parts/result.md.j2", "one\n\n{{ result_fiel }}\n");
    assert!(error.starts_with("DIR/parts/result.md.j2:3: undefined"), "{error}");
}

#[test]
fn an_endless_template_runs_out_of_fuel() {
    let error =
        error_with("fix.md.j2", "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}");
    assert!(error.contains("fuel"), "{error}");
}

#[test]
fn a_template_without_the_evidence_the_result_file_or_the_verdict_is_refused() {
    let error = error_with("fix.md.j2", "{{ result_file }} {{ fence }}");
    assert!(error.contains("{{ evidence }}"), "{error}");
    let error = error_with("fix.md.j2", "{{ fence }} {{ evidence }}");
    assert!(error.contains("{{ result_file }}"), "{error}");
    let error = error_with("pull_request.md.j2", "{{ fixes }}");
    assert!(error.contains("{{ verdict }}"), "{error}");
}

const LONG: &str = "{{ verdict }} {{ fixes }}{% for t in agent_tests %}{% for i in range(TIMES) %}house rules line 20 {% endfor %}{% endfor %}";

#[test]
fn a_template_that_makes_too_long_a_body_is_refused_at_the_start_and_never_after_the_agent() {
    let error = error_with("pull_request.md.j2", &LONG.replace("TIMES", "3200"));
    assert!(error.starts_with("DIR/pull_request.md.j2 makes a text of ") && error.contains("60000"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pull_request.md.j2"), LONG.replace("TIMES", "900")).unwrap();
    let prompts = Prompts::load(Some(dir.path())).unwrap();
    prompts.check().unwrap();
    let mut facts = facts(&full());
    facts.claims.tests = vec!["test_total".to_owned(); 10];
    assert!(prompts.pull_request(&Redactor::default(), &facts).unwrap().body.as_str().len() > 65_536);
}

#[test]
fn text_of_an_alert_is_never_a_template() {
    let mut context = full();
    context.alert.title = "{{ 7 * 191 }} {% include 'fix.md.j2' %}".to_owned();
    let text = prompt(&context, 96 << 10).unwrap();
    assert!(text.contains("{{ 7 * 191 }} {% include 'fix.md.j2' %}") && !text.contains("1337"));
}
