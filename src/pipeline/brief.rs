//! From what a run found out to what the prompt and the pull request are written from.
//!
//! Invariant: observations (exit codes, changed files) come from our own records, claims only from the agent's hand-back.

use std::time::Duration;

use super::prepare::{Evidence, Ground, Site};
use super::saved::{Changed, Fix, Tested};
use super::{Desk, Halt, Seams};
use crate::agent::handback::Handback;
use crate::alert::Alert;
use crate::config::{CommandLine, ForgeKind};
use crate::job::JobId;
use crate::process::Ended;
use crate::prompt::body::PullRequestText;
use crate::prompt::brief::{Checkout, FixBrief};
use crate::prompt::facts::{AgentClaims, ChangedFile, PullRequestFacts, RunFacts, TestFacts};
use crate::prompt::fence::Fence;
use crate::proof::{TestPlan, TestResult, TestRun};
use crate::redact::Redacted;
use crate::workspace::Workspace;

/// What the agent is told.
pub(super) fn fix_brief<'a>(
    seams: &Seams,
    ground: &Ground,
    evidence: &'a Evidence,
    plan: Option<&TestPlan>,
    baseline: Option<&TestRun>,
    workspace: &Workspace,
) -> Result<FixBrief<'a>, Halt> {
    let checkout = |site: &Site, dir| Checkout { name: site.id.to_string(), dir };
    let related = ground.related.iter().map(|site| checkout(site, workspace.related(&site.id.to_string()))).collect();
    let fence =
        Fence::random().map_err(|error| Halt::broken(format!("no randomness for the prompt's fence: {error}")))?;
    Ok(FixBrief {
        context: &evidence.context,
        repository: checkout(&ground.home, workspace.repository()),
        sub_folder: ground.project.path.clone(),
        related,
        context_dir: workspace.context(),
        result_file: workspace.result_file(),
        base_commit: evidence.base.commit.clone(),
        base_why: evidence.base.why.clone(),
        setup_command: plan.and_then(|plan| plan.setup.as_ref()).map(CommandLine::shown),
        test_command: plan.map(|plan| plan.test.shown()),
        baseline: baseline.and_then(run_facts),
        budget: seams.config.prompt.budget,
        fence,
    })
}

/// One of our runs of the tests; `None` where the tests did not run to their end.
fn run_facts(run: &TestRun) -> Option<RunFacts> {
    let code = match run.result {
        TestResult::Passed => 0,
        TestResult::Failed { code } => code,
        TestResult::Stopped { .. } | TestResult::Infrastructure { .. } => return None,
    };
    Some(RunFacts { ended: Ended::Exit(code), took: Duration::from_millis(run.took_ms), tail: run.tail.clone() })
}

/// Title and body of the pull request for one changed repository.
pub(super) fn pull_request_text(
    desk: &Desk,
    ground: &Ground,
    evidence: &Evidence,
    fix: &Fix,
    changed: &Changed,
    tested: &[Tested],
) -> Result<PullRequestText, Halt> {
    let site = ground.site(&changed.repository).unwrap_or(&ground.home);
    let own = tested.iter().filter(|tested| tested.repository == changed.repository);
    let tests = own.map(|tested| TestFacts {
        command: tested.after.command.clone(),
        before: run_facts(&tested.before),
        after: run_facts(&tested.after),
    });
    let changes = changed.changes.iter().map(|change| ChangedFile {
        path: change.path.clone(),
        added: change.added as u64,
        removed: change.removed as u64,
    });
    let facts = PullRequestFacts {
        agent: fix.agent.clone(),
        claims: claims(fix.handback.as_ref(), &fix.last_words),
        tests: tests.collect(),
        changes: changes.collect(),
        base_commit: changed.base.clone(),
        base_branch: site.default_branch.clone(),
        branch: desk.branch(),
        ..facts(&desk.seams, desk.job.id, evidence)
    };
    desk.seams
        .prompts
        .pull_request(&desk.seams.redactor, &facts)
        .map_err(|error| Halt::broken(format!("the pull request cannot be written: {error}")))
}

/// The message of the commit, which is made before the tests are run on it.
pub(super) fn commit_message(
    seams: &Seams,
    job: JobId,
    agent: &str,
    evidence: &Evidence,
    handback: Option<&Handback>,
) -> Result<Redacted<String>, Halt> {
    let facts =
        PullRequestFacts { agent: agent.to_owned(), claims: claims(handback, ""), ..facts(seams, job, evidence) };
    seams
        .prompts
        .commit_message(&seams.redactor, &facts)
        .map_err(|error| Halt::broken(format!("the commit message cannot be written: {error}")))
}

/// What is the same for every repository of a job.
fn facts(seams: &Seams, job: JobId, evidence: &Evidence) -> PullRequestFacts {
    let context = evidence.context.get();
    let git = &seams.config.git;
    PullRequestFacts {
        job,
        alert: context.alert.clone(),
        issue: context.issue.value().cloned(),
        event: context.event.value().cloned(),
        permalink: permalink(&seams.config.sentry.url, &context.alert),
        agent: String::new(),
        claims: AgentClaims::default(),
        tests: Vec::new(),
        grade: None,
        changes: Vec::new(),
        base_commit: evidence.base.commit.clone(),
        base_branch: String::new(),
        branch: String::new(),
        in_files: seams.config.forge.kind == ForgeKind::Directory,
        suspects: context.suspects.value().cloned().unwrap_or_default(),
        missing: context.missing().into_iter().map(|gap| format!("{}: {}", gap.part, gap.why)).collect(),
        trailers: git.trailers.clone(),
        sign_off: git.sign_off.then(|| format!("{} <{}>", git.author_name, git.author_email)),
    }
}

fn claims(handback: Option<&Handback>, last_words: &str) -> AgentClaims {
    let said = |text: &str| Some(text.to_owned()).filter(|text| !text.trim().is_empty());
    match handback {
        Some(handback) => AgentClaims {
            root_cause: said(&handback.root_cause),
            summary: said(&handback.summary),
            tests: handback.tests.clone(),
            confidence: None,
        },
        // Without a result file, the diff and the last output speak.
        None => AgentClaims { summary: said(last_words), ..AgentClaims::default() },
    }
}

/// The issue's address: the one that came with it, where that leads to the configured tracker (`acme.sentry.io` is part of
/// `sentry.io`), and one of our own where none came. If another server sent it, ours would lead to a stranger's issue.
fn permalink(base: &str, alert: &Alert) -> Option<url::Url> {
    let mut address: url::Url = base.parse().ok()?;
    if let Some(sent) = &alert.web_url {
        let sent: url::Url = sent.parse().ok()?;
        let above = sent.host_str()?.strip_suffix(address.host_str()?)?;
        return (above.is_empty() || above.ends_with('.')).then_some(sent);
    }
    address.path_segments_mut().ok()?.pop_if_empty().extend(["organizations", &alert.org, "issues", &alert.issue, ""]);
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Reason;

    #[test]
    fn the_link_to_an_issue_leads_to_the_configured_tracker_or_nowhere() {
        let alert = |web_url: Option<&str>| Alert {
            source: "sentry".to_owned(),
            org: "acme".to_owned(),
            project: "web".to_owned(),
            issue: "7".to_owned(),
            reason: Reason::New,
            short_id: None,
            title: String::new(),
            level: None,
            environment: None,
            release: None,
            event_id: None,
            web_url: web_url.map(str::to_owned),
        };
        let link = |sent| permalink("https://sentry.io", &alert(sent)).map(String::from);
        for own in ["https://acme.sentry.io/issues/7/", "https://sentry.io/organizations/acme/issues/7/events/1/"] {
            assert_eq!(link(Some(own)).as_deref(), Some(own));
        }
        assert_eq!(link(Some("https://sentry.acme.example/issues/7/")), None);
        assert_eq!(link(Some("https://notsentry.io/issues/7/")), None);
        assert_eq!(link(None).as_deref(), Some("https://sentry.io/organizations/acme/issues/7/"));
    }
}
