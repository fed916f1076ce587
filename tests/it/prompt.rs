//! The prompt stage from the outside: golden prompts and pull requests, attacks, and templates of an operator's own.
//!
//! Invariant: the contexts are synthetic; `PATCHWRIGHT_BLESS=1` writes the golden files anew, and a person reads the diff.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

mod contexts;
mod folder;
mod pull_request;
mod templates;

use std::fs;
use std::path::Path;

use contexts::{NONCE, brief, clean, facts, full, hostile, hostile_facts, prompt, webhook_only};
use patchwright::evidence::{Breadcrumb, Found};
use patchwright::prompt::facts::AgentClaims;
use patchwright::prompt::{PromptError, Prompts};
use patchwright::redact::Redactor;
use proptest::prelude::*;

fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/prompt").join(name);
    if std::env::var_os("PATCHWRIGHT_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs; run with PATCHWRIGHT_BLESS=1 and read the diff. Now:\n{actual}");
}

#[test]
fn the_prompt_for_a_full_context_reads_as_agreed() {
    golden("fix_full.md", &prompt(&full(), 96 << 10).unwrap());
}

#[test]
fn the_prompt_for_a_webhook_alone_says_what_is_missing() {
    golden("fix_webhook_only.md", &prompt(&webhook_only(), 96 << 10).unwrap());
}

#[test]
fn the_prompt_for_a_hostile_context_keeps_it_inside_the_fences() {
    golden("fix_hostile.md", &prompt(&hostile(), 96 << 10).unwrap());
}

#[test]
fn the_pull_request_for_a_full_context_reads_as_agreed() {
    let prompts = Prompts::load(None).unwrap();
    let text = prompts.pull_request(&Redactor::default(), &facts(&full())).unwrap();
    golden("pull_request_full.md", &format!("{}\n\n{}\n", text.title.as_str(), text.body.as_str()));
}

#[test]
fn the_pull_request_without_tests_and_claims_admits_it() {
    let mut facts = facts(&webhook_only());
    facts.in_files = true;
    (facts.claims, facts.tests, facts.grade, facts.permalink) = (AgentClaims::default(), Vec::new(), None, None);
    facts.suspects.clear();
    let text = Prompts::load(None).unwrap().pull_request(&Redactor::default(), &facts).unwrap();
    golden("pull_request_bare.md", &format!("{}\n\n{}\n", text.title.as_str(), text.body.as_str()));
}

#[test]
fn the_pull_request_for_a_hostile_context_can_only_be_read() {
    let attack = "<img src=x onerror=alert(1)> ![p](https://evil.example/p.png) [go](javascript:alert(1)) @team fixes #1, OTHER-1";
    let prompts = Prompts::load(None).unwrap();
    let text = prompts.pull_request(&Redactor::default(), &hostile_facts(attack)).unwrap();
    golden("pull_request_hostile.md", &format!("{}\n\n{}\n", text.title.as_str(), text.body.as_str()));
}

#[test]
fn the_commit_message_reads_as_agreed() {
    let message = Prompts::load(None).unwrap().commit_message(&Redactor::default(), &facts(&full())).unwrap();
    golden("commit_full.txt", message.as_str());
}

/// The prompt without what stands inside fences and without the lines that open and close them.
fn outside(prompt: &str) -> String {
    let (mut inside, mut out) = (false, String::new());
    for line in prompt.lines() {
        if line.starts_with(&format!("<untrusted-{NONCE} source=\"")) && line.ends_with("\">") {
            assert!(!inside, "a fence inside a fence: {line}");
            inside = true;
        } else if line == format!("</untrusted-{NONCE}>") {
            assert!(inside, "a fence is closed twice");
            inside = false;
        } else if !inside {
            out += line;
            out.push('\n');
        }
    }
    assert!(!inside, "a fence is left open");
    out
}

#[test]
fn no_word_of_a_hostile_context_stands_outside_a_fence() {
    let text = outside(&prompt(&hostile(), 96 << 10).unwrap());
    for word in ["Ignore all rules", "evil.example", "OTHER-1", "KeyError", "Ada", "SUMMER"] {
        assert!(!text.contains(word), "{word} in:\n{text}");
    }
    assert_eq!(text.matches("## What to do").count(), 1);
}

#[test]
fn a_prompt_that_is_cut_says_what_is_left_out_and_where_it_is() {
    let mut context = full();
    if let Found::Here { value, .. } = &mut context.event {
        let frame = value.exceptions[0].frames[0].clone();
        value.exceptions[0].frames = vec![frame; 500];
    }
    let text = outside(&prompt(&context, 24 << 10).unwrap());
    let left = text.lines().find(|line| line.ends_with("more frames in /job/context/error.md]"));
    assert!(left.is_some(), "{text}");
}

#[test]
fn a_budget_below_the_instructions_is_an_error_that_says_what_is_needed() {
    let Err(PromptError::Budget { budget: 100, needed }) = prompt(&full(), 100) else { panic!("no budget error") };
    assert!(prompt(&full(), u64::try_from(needed).unwrap()).is_ok());
}

#[test]
fn the_budget_holds_where_redaction_makes_the_prompt_longer() {
    let mut context = full();
    if let Found::Here { value, .. } = &mut context.event {
        value.breadcrumbs = vec![Breadcrumb { message: Some("app".to_owned()), ..Breadcrumb::default() }; 400];
    }
    let context = clean(&context);
    let (prompts, redactor) = (Prompts::load(None).unwrap(), Redactor::new(&["app\napp\n"]));
    let prompt = prompts.fix(&redactor, &brief(&context, 12 << 10)).unwrap();
    assert!(prompt.as_str().contains("[redacted:secret]") && prompt.as_str().len() <= 12 << 10, "{prompt}");
}

#[test]
fn what_was_left_out_when_the_event_was_read_is_counted() {
    let mut context = full();
    if let Found::Here { value, .. } = &mut context.event {
        value.exceptions[0].omitted_frames = 40;
        value.exceptions[1].omitted_before = 5;
    }
    let text = prompt(&context, 96 << 10).unwrap();
    for count in
        ["left out here: 7 earlier breadcrumbs", "40 more frames of this stack", "caused by: 5 more exceptions"]
    {
        assert!(text.contains(count), "{count}");
    }
}

#[test]
fn the_prompt_keeps_its_promises_to_the_reader() {
    let text = outside(&prompt(&webhook_only(), 96 << 10).unwrap());
    for promise in [
        "Find the root cause",
        "smallest safe fix",
        "regression test",
        "Run the tests",
        "/job/result.json",
        "Do not commit, push",
        "\"no_fix\"",
        "`python3 -m pytest -q`",
    ] {
        assert!(text.contains(promise), "{promise}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_the_evidence_says_the_budget_holds_and_the_fences_close(
        text in r"(zqx|[<>/`#@\n ]|untrusted-|0FE1CE5A11|\u{200b}|é){0,200}", frames in 0_usize..60, budget in 8_000_u64..40_000,
    ) {
        let mut context = full();
        context.alert.title.clone_from(&text);
        if let Found::Here { value, .. } = &mut context.event {
            value.exceptions[0].value.clone_from(&text);
            let mut frame = value.exceptions[0].frames[0].clone();
            frame.source.push((1, text.clone()));
            frame.locals.push((text.clone(), text.clone()));
            value.exceptions[0].frames = vec![frame; frames];
        }
        context.trace = Found::missing(text);
        match prompt(&context, budget) {
            Ok(prompt) => {
                prop_assert!(prompt.len() as u64 <= budget);
                prop_assert!(!outside(&prompt).contains("zqx"));
            }
            Err(PromptError::Budget { needed, .. }) => prop_assert!(needed as u64 > budget),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
