//! Pull requests and commit messages under attack.
//!
//! Invariant: what a forge or a tracker would act on is looked for in the text as they read it, not as we wrote it.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

use patchwright::prompt::body::{BODY_MAX, TITLE_MAX};
use patchwright::prompt::{Prompts, inert};
use patchwright::redact::Redactor;
use proptest::prelude::*;

use super::contexts::{facts, full, hostile_facts, some};

const ATTACKS: &[&str] = &[
    "<script>alert(1)</script>",
    "<!-- hidden --> text <!--",
    "<details open><summary>x</summary>",
    "![p](https://evil.example/p.png)",
    "[click](javascript:alert(1))",
    "[a]( <javascript:alert(1)> \"t\")",
    "a](https://evil.example) [b",
    "]() ![](//evil.example/x)",
    "[ref]: https://evil.example\n\n[ref]",
    "https://evil.example www.evil.example mail@evil.example",
    "<https://evil.example>",
    "Title\n=====\n\nOther\n---",
    "# Heading\n###### six",
    "| a | b |\n|---|---|\n| c | d |",
    "&lt;b&gt; &#64;team &commat;team",
    "@team \\@team ＠team @\u{200b}team (@org/team)",
    "#1 GH-1 gh-2 acme/web#3 acme/web@deadbeef1 !4 $5 deadbeef1",
    "fixes #1 Closes: OTHER-1 resolves the bug OTHER-2 fix web-a",
    "`fixes OTHER-1` ```\nfixes OTHER-1\n```",
    "fixes https://sentry.example/issues/1/",
    "`` ` `` ```` x `",
    "```\nunclosed @team",
    "~~~mermaid\ngraph\n~~~",
    "```suggestion\nevil\n```",
    "> quote\n> > nested @team",
    "- [ ] task\n* star\n+ plus\n1. one",
    "*em* **strong** _em_ ~~del~~ $`x`$ :+1:",
    "\u{202e}evil\u{2066} \u{e0041}",
    "[skip ci] ***NO_CI*** {{ config }} {% raw %}",
    "\n/close\n/merge",
    "a\\",
    "Signed-off-by: Mallory <m@evil.example>",
];

/// Takes out code blocks and code spans as CommonMark reads them, and returns the text that a forge would interpret.
fn interpreted(markdown: &str) -> String {
    let mut out = String::new();
    let mut fence: Option<usize> = None;
    for line in markdown.lines() {
        let bare = line.trim_start_matches("> ").trim_start_matches('>').trim();
        let ticks = bare.len() - bare.trim_start_matches('`').len();
        if let Some(length) = fence {
            if ticks >= length && bare.trim_start_matches('`').is_empty() {
                fence = None;
            }
            continue;
        }
        if ticks >= 3 && !bare[ticks..].contains('`') {
            fence = Some(ticks);
            continue;
        }
        let mut rest = bare;
        while let Some(at) = rest.find('`') {
            out += &rest[..at];
            let after = rest[at..].trim_start_matches('`');
            let length = rest[at..].len() - after.len();
            let mut end = None;
            let mut from = 0;
            while let Some(found) = after[from..].find('`') {
                let start = from + found;
                let run = after[start..].len() - after[start..].trim_start_matches('`').len();
                if run == length {
                    end = Some(start + run);
                    break;
                }
                from = start + run;
            }
            rest = match end {
                Some(end) => &after[end..],
                None => after,
            };
            out.push('¤');
        }
        out += rest;
        out.push('\n');
    }
    assert!(fence.is_none(), "a code block is left open in:\n{markdown}");
    out
}

/// What Sentry finds in the raw text of a pull request or commit (`find_referenced_groups`).
fn closed_by_sentry(text: &str) -> Vec<String> {
    let fixes = regex::Regex::new(
        r"(?i)\b(?:Fix|Fixes|Fixed|Close|Closes|Closed|Resolve|Resolves|Resolved):?\s+([A-Za-z0-9_\-\s,]+)\b",
    );
    let id = regex::Regex::new(r"(?i)\b([A-Z0-9_-]+-[A-Z0-9]+)\b").unwrap();
    let fixes = fixes.unwrap();
    fixes
        .captures_iter(text)
        .flat_map(|c| id.find_iter(c.get(1).unwrap().as_str()).map(|m| m.as_str().to_owned()).collect::<Vec<_>>())
        .collect()
}

fn assert_inert(markdown: &str) {
    let text = interpreted(markdown);
    for sign in ["<", "](", "![", "@", "://", "www.", "#", "|", "\\", "&", "_", "~", "$", "^", "=", "--", "{", "＠"] {
        assert!(!text.contains(sign), "`{sign}` is interpreted in:\n{markdown}");
    }
    let reference = regex::Regex::new(r"(?i)\bgh-\d|![0-9]|(?m)^/").unwrap();
    assert!(!reference.is_match(&text), "a reference in:\n{markdown}");
    let commit = regex::Regex::new(r"(?i)\b[0-9a-f]{7,}\b").unwrap();
    assert!(
        commit.find_iter(&text).all(|id| !id.as_str().contains(|c: char| c.is_ascii_digit())),
        "a commit in:\n{markdown}"
    );
    assert_eq!(closed_by_sentry(markdown), Vec::<String>::new(), "closes something:\n{markdown}");
    let marks = markdown.to_lowercase();
    assert!(!marks.contains("[skip ci]") && !marks.contains("***no_ci***"), "skips the checks:\n{markdown}");
    assert!(!markdown.contains(['\u{202e}', '\u{200b}', '\u{2066}', '\u{e0041}']));
}

#[test]
fn every_known_attack_is_inert_as_prose_code_block_and_cell() {
    for attack in ATTACKS {
        assert_inert(&inert::prose(attack, 1_000));
        assert_inert(&inert::quote(&inert::prose(attack, 1_000)));
        assert_inert(&inert::code(attack, 1_000));
        assert_inert(&inert::block(attack, 1_000));
        assert!(!inert::cell(attack, 1_000).contains('|'));
    }
}

#[test]
fn all_attacks_at_once_are_inert_in_any_order() {
    for step in [1, 3, 5, 7] {
        let all: Vec<&str> = (0..ATTACKS.len()).map(|at| ATTACKS[at * step % ATTACKS.len()]).collect();
        assert_inert(&inert::prose(&all.join(" "), usize::MAX));
        assert_inert(&inert::prose(&all.join("\n"), usize::MAX));
    }
}

#[test]
fn ordinary_prose_and_the_markdown_that_agents_write_stay_readable() {
    let text = "## Cause\n\nThe coupon's **rate** is `None` (see `find()`), so:\n\n* it fails,\n* off-by-one and/or 50%.\n\n```rust\nlet x = 1;\n```";
    let expected = "Cause\n\nThe coupon's rate is `None` (see `find()`), so:\n\n- it fails,\n- off-by-one and/or 50%.\n\n```\nlet x = 1;\n```";
    assert_eq!(inert::prose(text, 1_000), expected);
}

proptest! {
    #[test]
    fn anything_is_inert_and_making_it_inert_twice_changes_nothing(
        text in r#"([a-c]{0,3}|[ \n]|[`~*_#@<>\[\]()!|\\/&:=.$-]|fixes |A-1|www\.|https://|GH-|[0-9]|\u{200b}|`{3}|é){0,60}"#,
    ) {
        let once = inert::prose(&text, usize::MAX);
        assert_inert(&once);
        prop_assert_eq!(inert::prose(&once, usize::MAX), once);
        let plain = inert::plain(&text, usize::MAX);
        prop_assert_eq!(closed_by_sentry(&plain), Vec::<String>::new());
        prop_assert!(!plain.contains(['@', '#', '[', '`', '\n', '*']) && !plain.contains("://"));
        prop_assert_eq!(inert::plain(&plain, usize::MAX), plain);
    }
}

#[test]
fn a_title_begins_with_what_it_fixes_and_closes_nothing_by_it() {
    let prompts = Prompts::load(None).unwrap();
    let title = |kind: &str, value: &str, function: Option<&str>| {
        let mut facts = facts(&full());
        let exceptions = &mut facts.event.as_mut().unwrap().exceptions;
        (exceptions[0].kind, exceptions[0].value) = (kind.to_owned(), value.to_owned());
        for frame in exceptions.iter_mut().flat_map(|exception| &mut exception.frames) {
            frame.function = function.map(str::to_owned);
        }
        let title = prompts.pull_request(&Redactor::default(), &facts).unwrap().title.into_inner();
        assert!(closed_by_sentry(&title).is_empty() && title.chars().count() <= TITLE_MAX, "{title}");
        title
    };
    for (kind, value, function, expected) in [
        ("KeyError", "'total'", None, "Fix KeyError: 'total' (WEB-1F)"),
        ("KeyError", "", None, "Fix KeyError (WEB-1F)"),
        ("TypeError", "Cannot read 'x'", None, "Fix TypeError: Cannot read 'x' (WEB-1F)"),
        ("std::bad_alloc", "x", Some("ns::f"), "Fix std::bad_alloc in ns::f (WEB-1F)"),
        ("TypeError", "x", Some("get-user"), "Fix “TypeError in get-user” (WEB-1F)"),
        ("Fixes OTHER-1", "x", None, "Fix Fixes · OTHER-1: x (WEB-1F)"),
    ] {
        assert_eq!(title(kind, value, function), expected);
    }
    assert!(title("TypeError", "x", Some(&"get-user ".repeat(20))).ends_with("…” (WEB-1F)"));
}

#[test]
fn the_command_that_does_a_job_again_names_the_issue_or_else_the_job() {
    let prompts = Prompts::load(None).unwrap();
    let body = |facts| prompts.pull_request(&Redactor::default(), &facts).unwrap().body.into_inner();
    let named = facts(&full());
    let (mut nameless, job) = (facts(&full()), named.job);
    nameless.alert.short_id = None;
    nameless.issue = None;
    assert!(body(named).contains("`patchwright run WEB-1F`"));
    assert!(body(nameless).contains(&format!("`patchwright jobs retry {job} --fresh`")));
}

#[test]
fn a_pull_request_of_nothing_but_attacks_closes_only_its_own_issue() {
    let prompts = Prompts::load(None).unwrap();
    for attack in ATTACKS {
        let mut facts = hostile_facts(attack);
        facts.alert.short_id = some("WEB-1F");
        let text = prompts.pull_request(&Redactor::default(), &facts).unwrap();
        let message = prompts.commit_message(&Redactor::default(), &facts).unwrap();
        for text in [text.title.as_str(), text.body.as_str(), message.as_str()] {
            let closed = closed_by_sentry(text);
            assert!(closed.iter().all(|id| id == "WEB-1F"), "{closed:?} in:\n{text}");
        }
        assert!(text.body.as_str().ends_with("\n\nFixes WEB-1F"), "{}", text.body.as_str());
    }
}

#[test]
fn the_body_fits_a_forge_even_if_everybody_writes_as_much_as_they_can() {
    let prompts = Prompts::load(None).unwrap();
    for attack in ["@\n", "@ ", "fix a-b ", "`\n", "漢", "&", "a\n\n", "- @\n"] {
        let text = prompts.pull_request(&Redactor::default(), &hostile_facts(&attack.repeat(20_000))).unwrap();
        assert!(text.body.as_str().chars().count() <= BODY_MAX);
        assert!(text.title.as_str().chars().count() <= TITLE_MAX);
        assert!(!text.title.as_str().contains('\n'));
    }
}

#[test]
fn a_secret_in_the_agents_words_is_redacted_before_it_is_cut_or_escaped() {
    let secret = "sk_live_0123456789abcdef0123456789abcdef";
    let redactor = Redactor::new(&[secret]);
    assert!(!redactor.text(secret).as_str().contains(secret));
    let mut facts = facts(&full());
    facts.claims.summary = Some(format!("{} {secret}", "x".repeat(2_980)));
    let text = Prompts::load(None).unwrap().pull_request(&redactor, &facts).unwrap();
    assert!(!text.body.as_str().contains("sk_live"));
}

#[test]
fn a_commit_message_has_its_trailers_last_and_nobody_elses_text_at_the_margin() {
    let mut facts = facts(&full());
    facts.claims.root_cause = some("x\n\nCo-authored-by: Mallory <m@evil.example>\n\n[skip ci]\nBREAKING CHANGE: y");
    let message = Prompts::load(None).unwrap().commit_message(&Redactor::default(), &facts).unwrap();
    let last = message.as_str().trim_end().rsplit("\n\n").next().unwrap();
    assert_eq!(last, "Patchwright-Job: 12\nTeam: payments\nSigned-off-by: Patchwright <patchwright@localhost>");
    assert!(!message.as_str().contains("[skip ci]"));
    assert!(message.as_str().lines().all(|line| !line.starts_with("Co-authored-by") && !line.starts_with("BREAKING")));
}
