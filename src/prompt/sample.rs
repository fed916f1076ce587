//! Made-up data with which `Prompts::check` fills in every template.
//!
//! Invariant: every optional part is once there and once absent, so that each branch of a template is taken.

use std::time::Duration;

use super::body::BODY_MAX;
use super::brief::{Checkout, FixBrief};
use super::facts::{AgentClaims, ChangedFile, PullRequestFacts, RunFacts, TestFacts};
use super::fence::Fence;
use super::{PromptError, Prompts, templates};
use crate::alert::{Alert, Reason};
use crate::clock;
use crate::evidence::{Context, Event, Exception, Found, Frame, Issue, Provenance, Suspect};
use crate::job::JobId;
use crate::limits::Size;
use crate::process::Ended;
use crate::redact::Redactor;

/// Fills in every template and looks for what must be there.
pub(super) fn check(prompts: &Prompts) -> Result<(), PromptError> {
    let redactor = Redactor::default();
    for full in [true, false] {
        let context = redactor.data(&context(full)).map_err(PromptError::Sample)?;
        let brief = FixBrief {
            context: &context,
            repository: checkout("sample/shop"),
            sub_folder: full.then(|| "services/shop".into()),
            related: if full { vec![checkout("sample/stock")] } else { Vec::new() },
            context_dir: "/sample/context".into(),
            result_file: "/sample/result.json".into(),
            base_commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            base_why: "the head of `main`".to_owned(),
            setup_command: full.then(|| "make setup".to_owned()),
            test_command: full.then(|| "make test".to_owned()),
            baseline: full.then(|| run(1)),
            budget: Size(1 << 20),
            fence: Fence::new("5A3B1E5A3B1E")?,
        };
        let prompt = prompts.fix(&redactor, &brief)?;
        let fix =
            |needle: &str, variable, why| require(prompts, templates::FIX, prompt.as_str(), needle, variable, why);
        fix("### The alert", "evidence", "the agent sees nothing of the error")?;
        fix("/sample/result.json", "result_file", "the agent cannot hand back a result")?;
        let before = prompt.as_str().split("### ").next().unwrap_or_default();
        let why = "the agent is not told what is untrusted";
        require(prompts, templates::FIX, before, "untrusted-5A3B1E5A3B1E", "fence", why)?;

        let facts = facts(full);
        let text = prompts.pull_request(&redactor, &facts)?;
        let chars = text.body.as_str().chars().count();
        if chars > BODY_MAX {
            let file = prompts.templates.origin(templates::PULL_REQUEST);
            return Err(PromptError::TooLong { file, chars, max: BODY_MAX });
        }
        let body = |needle: &str, variable, why| {
            require(prompts, templates::PULL_REQUEST, text.body.as_str(), needle, variable, why)
        };
        body(
            if full { "failed (exit 1) before" } else { "ran no tests for" },
            "verdict",
            "a reviewer does not see what was observed",
        )?;
        body("Fixes SAMPLE-1F", "fixes", "the tracker does not learn of the fix")?;
        let message = prompts.commit_message(&redactor, &facts)?;
        require(prompts, templates::COMMIT, message.as_str(), "(SAMPLE-1F)", "subject", "the commit has no subject")?;
    }
    Ok(())
}

fn require(
    prompts: &Prompts,
    template: &str,
    text: &str,
    needle: &str,
    variable: &'static str,
    why: &'static str,
) -> Result<(), PromptError> {
    if text.contains(needle) {
        return Ok(());
    }
    Err(PromptError::LeftOut { file: prompts.templates.origin(template), variable, why })
}

fn checkout(name: &str) -> Checkout {
    Checkout { name: name.to_owned(), dir: format!("/sample/{name}").into() }
}

fn run(code: i32) -> RunFacts {
    RunFacts { ended: Ended::Exit(code), took: Duration::from_millis(1_234), tail: "1 test".to_owned() }
}

fn alert() -> Alert {
    Alert {
        source: "sentry".to_owned(),
        org: "sample".to_owned(),
        project: "shop".to_owned(),
        issue: "1".to_owned(),
        reason: Reason::New,
        short_id: Some("SAMPLE-1F".to_owned()),
        title: "KeyError: 'rate'".to_owned(),
        level: Some("error".to_owned()),
        environment: Some("production".to_owned()),
        release: None,
        event_id: None,
        web_url: None,
    }
}

fn event() -> Event {
    let frame = Frame {
        function: Some("total".to_owned()),
        file: Some("shop/cart.py".to_owned()),
        line: Some(42),
        in_app: true,
        ..Frame::default()
    };
    let exception = Exception {
        kind: "KeyError".to_owned(),
        value: "'rate'".to_owned(),
        frames: vec![frame],
        ..Exception::default()
    };
    Event { exceptions: vec![exception], ..Event::default() }
}

fn context(full: bool) -> Context {
    let from = Provenance { source: "sample".to_owned(), at: clock::from_millis(0), outsider_can_write: true };
    Context {
        alert: alert(),
        issue: Found::missing("this is a sample"),
        event: if full { Found::Here { value: event(), from } } else { Found::missing("this is a sample") },
        trace: Found::missing("this is a sample"),
        suspects: Found::missing("this is a sample"),
        code: Found::missing("this is a sample"),
        gaps: Vec::new(),
    }
}

fn facts(full: bool) -> PullRequestFacts {
    let test = TestFacts { command: "make test".to_owned(), before: Some(run(1)), after: Some(run(0)) };
    let change = ChangedFile { path: "shop/cart.py".to_owned(), added: 2, removed: 1 };
    let suspect = Suspect { commit: "0123456789ab".to_owned(), subject: "Add rates".to_owned(), ..Suspect::default() };
    let claims = AgentClaims {
        root_cause: Some("A cart without a rate.".to_owned()),
        summary: Some("Use the default rate.".to_owned()),
        tests: vec!["test_total".to_owned()],
        confidence: Some("high".to_owned()),
    };
    PullRequestFacts {
        job: JobId(1),
        alert: alert(),
        issue: full.then(|| Issue { events: Some(2), ..Issue::default() }),
        event: full.then(event),
        permalink: None,
        agent: "sample".to_owned(),
        claims: if full { claims } else { AgentClaims::default() },
        tests: if full { vec![test] } else { Vec::new() },
        grade: full.then(|| "The tests show the fix.".to_owned()),
        changes: if full { vec![change; 50] } else { Vec::new() },
        base_commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        base_branch: "main".to_owned(),
        branch: "patchwright/sentry-1".to_owned(),
        in_files: !full,
        suspects: if full { vec![suspect] } else { Vec::new() },
        missing: if full { vec!["trace: this is a sample".to_owned()] } else { Vec::new() },
        trailers: if full { vec!["Team: sample".to_owned()] } else { Vec::new() },
        sign_off: None,
    }
}
