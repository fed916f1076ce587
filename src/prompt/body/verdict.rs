//! What Patchwright itself observed, in one sentence, and what it did not.
//!
//! Invariant: both are computed from exit codes alone; no word of the agent's has a say in them.

use super::super::facts::{PullRequestFacts, RunFacts, TestFacts};
use super::{Scribe, cap};

/// The sentence that a pull request begins with.
pub(super) fn verdict(scribe: Scribe<'_>, tests: &[TestFacts]) -> String {
    let seen: Vec<String> = tests.iter().take(cap::COMMANDS).map(|test| sentence(scribe, test)).collect();
    let but = if reproduced(tests) { "" } else { " The bug itself was not reproduced." };
    if seen.is_empty() {
        return format!("Patchwright ran no tests for this change.{but}");
    }
    format!("Patchwright ran the tests itself: {}.{but}", seen.join("; "))
}

/// Whether a command was seen to fail before the change and to pass with it.
fn reproduced(tests: &[TestFacts]) -> bool {
    let failed = |run: &RunFacts| !run.passed();
    tests.iter().any(|test| test.before.as_ref().is_some_and(failed) && passed(test.after.as_ref()))
}

fn passed(run: Option<&RunFacts>) -> bool {
    run.is_some_and(RunFacts::passed)
}

fn sentence(scribe: Scribe<'_>, test: &TestFacts) -> String {
    let command = scribe.code(&test.command, cap::NAME);
    match (&test.before, &test.after) {
        (Some(before), Some(after)) => {
            format!("{command} {} before this change and {} with it", before.in_words(), after.in_words())
        }
        (None, Some(after)) => format!("{command} {} with this change; it was not run before it", after.in_words()),
        (Some(before), None) => format!("{command} {} before this change; it was not run with it", before.in_words()),
        (None, None) => format!("{command} was not run"),
    }
}

/// What a reviewer must not take for granted.
pub(super) fn not_verified(scribe: Scribe<'_>, facts: &PullRequestFacts) -> Vec<String> {
    let mut notes = Vec::new();
    if facts.tests.iter().all(|test| test.after.is_none()) {
        notes.push("No test was run on this change.".to_owned());
    } else if !facts.tests.iter().all(|test| passed(test.after.as_ref())) {
        notes.push("Not every test command passes with this change.".to_owned());
    }
    if !reproduced(&facts.tests) {
        notes.push(
            "No test was seen to fail before the change and pass with it, so the bug itself was not reproduced."
                .to_owned(),
        );
    }
    notes.push("The production error was not replayed; only the tests above were run.".to_owned());
    notes.push("The root cause and the summary are the agent's own words; nobody has checked them yet.".to_owned());
    let missing = facts.missing.iter().take(cap::ITEMS).map(|sentence| scribe.sentence(sentence));
    notes.extend(missing.filter(|sentence| !sentence.is_empty()));
    let more = facts.missing.len().saturating_sub(cap::ITEMS);
    if more > 0 {
        notes.push(format!("{more} more, listed in the job."));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::Ended;
    use crate::redact::Redactor;

    fn run(code: i32) -> Option<RunFacts> {
        Some(RunFacts { ended: Ended::Exit(code), took: Duration::from_secs(1), tail: String::new() })
    }

    fn said(before: Option<RunFacts>, after: Option<RunFacts>) -> String {
        let redactor = Redactor::default();
        verdict(Scribe(&redactor), &[TestFacts { command: "make test".to_owned(), before, after }])
    }

    #[test]
    fn the_verdict_says_what_was_seen_and_no_more() {
        let cases = [
            (run(1), run(0), "failed (exit 1) before this change and passed (exit 0) with it."),
            (run(0), run(0), "passed (exit 0) before this change and passed (exit 0) with it.BUT"),
            (run(1), run(1), "failed (exit 1) before this change and failed (exit 1) with it.BUT"),
            (None, run(0), "passed (exit 0) with this change; it was not run before it.BUT"),
            (run(1), None, "failed (exit 1) before this change; it was not run with it.BUT"),
            (None, None, "was not run.BUT"),
        ];
        for (before, after, words) in cases {
            let words = words.replace("BUT", " The bug itself was not reproduced.");
            assert_eq!(said(before, after), format!("Patchwright ran the tests itself: `make test` {words}"));
        }
    }

    #[test]
    fn without_tests_the_verdict_says_so() {
        let redactor = Redactor::default();
        let expected = "Patchwright ran no tests for this change. The bug itself was not reproduced.";
        assert_eq!(verdict(Scribe(&redactor), &[]), expected);
    }
}
