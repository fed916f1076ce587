//! The words of a pull request: its title, its body and the message of its commit.
//!
//! Invariant: what others wrote is redacted first, cut second and made inert last (a secret that was cut or escaped is
//! no longer recognised); no sentence claims more than Patchwright itself observed.

mod commit;
mod verdict;

use serde::Serialize;

use super::facts::{PullRequestFacts, RunFacts, TestFacts};
use super::{PromptError, Prompts, clean, inert, section, templates};
use crate::redact::{Redacted, Redactor};

/// Most characters of a title: longer ones are cut in lists and in `git log`.
pub const TITLE_MAX: usize = 72;
/// Most characters of a body, as long as its template is ours, and for an operator's with made-up data. GitHub takes 65,536 and
/// counts characters, not bytes; what is longer nevertheless is cut by the forge, since by then an agent was paid.
pub const BODY_MAX: usize = 60_000;

/// How much of what others wrote is shown, in characters or items. Together, at their worst, they fit [`BODY_MAX`].
mod cap {
    pub(super) const ROOT_CAUSE: usize = 1_500;
    pub(super) const SUMMARY: usize = 3_000;
    pub(super) const SENTENCE: usize = 300;
    pub(super) const NAME: usize = 160;
    pub(super) const OUTPUT: usize = 1_500;
    pub(super) const COMMANDS: usize = 4;
    pub(super) const FILES: usize = 40;
    pub(super) const SUSPECTS: usize = 5;
    pub(super) const ITEMS: usize = 15;
}

/// The text of a pull request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullRequestText {
    /// One line of at most [`TITLE_MAX`] characters.
    pub title: Redacted<String>,
    /// Markdown; see [`BODY_MAX`].
    pub body: Redacted<String>,
}

impl Prompts {
    /// Writes title and body of the pull request.
    ///
    /// # Errors
    /// Where the template cannot be rendered.
    pub fn pull_request(&self, redactor: &Redactor, facts: &PullRequestFacts) -> Result<PullRequestText, PromptError> {
        let body = self.templates.render(templates::PULL_REQUEST, View::new(Scribe(redactor), facts))?;
        let title = commit::subject(Scribe(redactor), facts);
        Ok(PullRequestText { title: redactor.text(&title), body: redactor.text(body.trim_end()) })
    }

    /// Writes the message of the commit.
    ///
    /// # Errors
    /// Where the template cannot be rendered.
    pub fn commit_message(
        &self,
        redactor: &Redactor,
        facts: &PullRequestFacts,
    ) -> Result<Redacted<String>, PromptError> {
        let view = commit::View::new(Scribe(redactor), facts);
        let message = self.templates.render(templates::COMMIT, view)?;
        Ok(redactor.text(&(message.trim_end().to_owned() + "\n")))
    }
}

/// Writes down what others said: redacted, cut, inert.
#[derive(Clone, Copy)]
struct Scribe<'a>(&'a Redactor);

impl Scribe<'_> {
    fn prose(self, text: &str, max: usize) -> String {
        inert::prose(self.0.text(text).as_str(), max)
    }

    fn code(self, text: &str, max: usize) -> String {
        inert::code(self.0.text(text).as_str(), max)
    }

    fn cell(self, text: &str, max: usize) -> String {
        inert::cell(self.0.text(text).as_str(), max)
    }

    fn block(self, text: &str, max: usize) -> String {
        inert::block(self.0.text(text).as_str(), max)
    }

    fn plain(self, text: &str, max: usize) -> String {
        inert::plain(self.0.text(text).as_str(), max)
    }

    /// One sentence or heading on one line.
    fn sentence(self, text: &str) -> String {
        self.prose(&clean::one_line(self.0.text(text).as_str(), cap::SENTENCE), usize::MAX)
    }

    /// Somebody else's prose as a quotation; `None` where there is none.
    fn quote(self, text: Option<&str>, max: usize) -> Option<String> {
        text.map(|text| self.prose(text, max)).filter(|text| !text.is_empty()).map(|text| inert::quote(&text))
    }
}

/// What the template sees; `docs/prompts.md` describes each. Every string is Markdown that is safe to put anywhere.
#[derive(Serialize)]
struct View {
    verdict: String,
    grade: Option<String>,
    issue: String,
    reason: &'static str,
    error: String,
    frame: Option<String>,
    statistics: Vec<String>,
    agent: String,
    root_cause: Option<String>,
    summary: Option<String>,
    agent_tests: Vec<String>,
    confidence: Option<String>,
    tests: Vec<Row>,
    outputs: Vec<Output>,
    not_verified: Vec<String>,
    suspects: Vec<String>,
    changes: Vec<String>,
    changes_left_out: usize,
    base_commit: String,
    base_branch: String,
    job: i64,
    check: String,
    run_again: String,
    in_files: bool,
    fixes: Option<String>,
}

/// One line of the evidence table.
#[derive(Serialize)]
struct Row {
    command: String,
    before: String,
    after: String,
}

/// The end of what one run printed.
#[derive(Serialize)]
struct Output {
    title: String,
    text: String,
}

impl View {
    fn new(scribe: Scribe<'_>, facts: &PullRequestFacts) -> Self {
        let short_id = short_id(facts);
        Self {
            verdict: verdict::verdict(scribe, &facts.tests),
            grade: facts.grade.as_deref().map(|grade| scribe.sentence(grade)).filter(|grade| !grade.is_empty()),
            issue: issue_link(scribe, facts),
            reason: facts.alert.reason.in_words(),
            error: error_line(scribe, facts),
            frame: facts.first_own_frame().map(|frame| {
                let function = frame.function.as_deref().unwrap_or_default();
                let place = section::place(frame);
                scribe.code(&if function.is_empty() { place } else { format!("{place} in {function}") }, cap::NAME)
            }),
            statistics: statistics(scribe, facts),
            agent: scribe.code(&facts.agent, cap::NAME),
            root_cause: scribe.quote(facts.claims.root_cause.as_deref(), cap::ROOT_CAUSE),
            summary: scribe.quote(facts.claims.summary.as_deref(), cap::SUMMARY),
            agent_tests: codes(scribe, &facts.claims.tests),
            confidence: facts.claims.confidence.as_deref().map(|c| scribe.code(c, 20)).filter(|c| !c.is_empty()),
            tests: facts.tests.iter().map(|test| row(scribe, test)).collect(),
            outputs: facts.tests.iter().take(cap::COMMANDS).flat_map(|test| outputs(scribe, test)).collect(),
            not_verified: verdict::not_verified(scribe, facts),
            suspects: suspects(scribe, facts),
            changes: changes(scribe, facts),
            changes_left_out: facts.changes.len().saturating_sub(cap::FILES),
            base_commit: format!("`{}`", clean::commit(&facts.base_commit)),
            base_branch: scribe.code(&facts.base_branch, cap::NAME),
            job: facts.job.0,
            check: check(scribe, facts),
            in_files: facts.in_files,
            // `run` takes what a tracker knows; a bare number would mean an issue there, not our job.
            run_again: short_id.map_or_else(
                || format!("`patchwright jobs retry {} --fresh`", facts.job),
                |id| format!("`patchwright run {id}`"),
            ),
            fixes: short_id.map(|id| format!("Fixes {id}")),
        }
    }
}

/// What a person types to run the same tests on the change.
fn check(scribe: Scribe<'_>, facts: &PullRequestFacts) -> String {
    let fetch = format!("git fetch origin {} && git switch --detach FETCH_HEAD", facts.branch);
    let tests = facts.tests.iter().take(cap::COMMANDS).map(|test| test.command.clone());
    scribe.code(&std::iter::once(fetch).chain(tests).collect::<Vec<_>>().join(" && "), cap::SENTENCE)
}

/// The issue's short id, if it has the shape of one.
fn short_id(facts: &PullRequestFacts) -> Option<&str> {
    let known = [facts.alert.short_id.as_deref(), facts.issue.as_ref().and_then(|issue| issue.short_id.as_deref())];
    known.into_iter().flatten().find_map(clean::short_id)
}

/// The issue's name, as a link where we know an address that is plain.
fn issue_link(scribe: Scribe<'_>, facts: &PullRequestFacts) -> String {
    let name =
        short_id(facts).map_or_else(|| scribe.code(&facts.alert.issue_name(), cap::NAME), |id| format!("`{id}`"));
    let plain = |url: &&url::Url| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":/._?=&%~+-".contains(c);
        matches!(url.scheme(), "https" | "http") && url.as_str().len() <= 500 && url.as_str().chars().all(allowed)
    };
    match facts.permalink.as_ref().filter(plain) {
        Some(url) => format!("[{name}](<{url}>)"),
        None => name,
    }
}

/// The error that was raised, or the alert's title.
fn error_line(scribe: Scribe<'_>, facts: &PullRequestFacts) -> String {
    let raised = facts.event.as_ref().and_then(|event| event.exceptions.first());
    let text = raised.map_or_else(|| facts.alert.title.clone(), |e| format!("{}: {}", e.kind, e.value));
    scribe.code(&text, cap::SENTENCE)
}

/// Counts, releases and times, where they are known.
fn statistics(scribe: Scribe<'_>, facts: &PullRequestFacts) -> Vec<String> {
    let issue = facts.issue.as_ref();
    let count = |n: Option<u64>, one: &str, many: &str| n.map(|n| format!("{n} {}", if n == 1 { one } else { many }));
    let named = |what: &str, text: Option<&String>| {
        text.map(|text| scribe.code(text, cap::NAME))
            .filter(|code| !code.is_empty())
            .map(|code| format!("{what} {code}"))
    };
    [
        count(issue.and_then(|issue| issue.events), "event", "events"),
        count(issue.and_then(|issue| issue.users), "user", "users"),
        named("level", facts.alert.level.as_ref()),
        named("environment", facts.alert.environment.as_ref()),
        named("release", facts.alert.release.as_ref()),
        named("first seen", issue.and_then(|issue| issue.first_seen.as_ref())),
        named("last seen", issue.and_then(|issue| issue.last_seen.as_ref())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn row(scribe: Scribe<'_>, test: &TestFacts) -> Row {
    let run = |run: &Option<RunFacts>| {
        run.as_ref().map_or_else(|| "not run".to_owned(), |run| format!("{}, {}", run.in_words(), run.seconds()))
    };
    Row { command: scribe.cell(&test.command, cap::NAME), before: run(&test.before), after: run(&test.after) }
}

fn outputs(scribe: Scribe<'_>, test: &TestFacts) -> Vec<Output> {
    let runs = [("Before", &test.before), ("After", &test.after)];
    let shown =
        runs.into_iter().filter_map(|(when, run)| Some((when, run.as_ref().filter(|run| !run.tail.is_empty())?)));
    shown
        .map(|(when, run)| {
            let (words, text) = (run.in_words(), scribe.block(&run.tail, cap::OUTPUT));
            Output { title: format!("{when} the change: the command {words}"), text }
        })
        .collect()
}

fn suspects(scribe: Scribe<'_>, facts: &PullRequestFacts) -> Vec<String> {
    let line = |suspect: &crate::evidence::Suspect| {
        let (commit, subject) = (clean::commit(&suspect.commit), scribe.code(&suspect.subject, cap::NAME));
        let (author, why) = (scribe.code(&suspect.author, cap::NAME), scribe.sentence(&suspect.why));
        format!("`{commit}` {subject} by {author}: {why}")
    };
    facts.suspects.iter().take(cap::SUSPECTS).map(line).collect()
}

fn changes(scribe: Scribe<'_>, facts: &PullRequestFacts) -> Vec<String> {
    let line = |change: &super::facts::ChangedFile| {
        format!("{} (+{} −{})", scribe.code(&change.path, cap::NAME), change.added, change.removed)
    };
    facts.changes.iter().take(cap::FILES).map(line).collect()
}

fn codes(scribe: Scribe<'_>, texts: &[String]) -> Vec<String> {
    texts.iter().take(cap::ITEMS).map(|text| scribe.code(text, cap::NAME)).filter(|code| !code.is_empty()).collect()
}
