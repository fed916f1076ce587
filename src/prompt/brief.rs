//! The prompt of the first attempt at a fix.
//!
//! Invariant: outside the fences stands only what we wrote or checked the shape of; the whole is within the budget.

use std::path::PathBuf;

use serde::Serialize;

use super::facts::RunFacts;
use super::fence::Fence;
use super::{PromptError, Prompts, budget, clean, section, templates};
use crate::evidence::{Context, Found};
use crate::limits::Size;
use crate::redact::{Redacted, Redactor};

/// A checkout that the agent finds in its workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkout {
    /// Name of the repository, `owner/name`.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
}

/// Everything from which the prompt is written.
#[derive(Clone, Debug)]
pub struct FixBrief<'a> {
    /// The evidence.
    pub context: &'a Redacted<Context>,
    /// The repository to be changed.
    pub repository: Checkout,
    /// Sub-folder of a monorepo that the alert's project lives in.
    pub sub_folder: Option<PathBuf>,
    /// Repositories that may be read.
    pub related: Vec<Checkout>,
    /// The read-only folder with all evidence.
    pub context_dir: PathBuf,
    /// Where the agent writes its result.
    pub result_file: PathBuf,
    /// The commit that is worked on.
    pub base_commit: String,
    /// How it was chosen, to be put after "it is": "the head of `main`".
    pub base_why: String,
    /// The command that prepared the checkout.
    pub setup_command: Option<String>,
    /// The command that runs the tests.
    pub test_command: Option<String>,
    /// The tests on the base commit, where they were run.
    pub baseline: Option<RunFacts>,
    /// Most bytes of the prompt.
    pub budget: Size,
    /// The fence for untrusted text; a new one for each job.
    pub fence: Fence,
}

/// What the template sees; `docs/prompts.md` describes each.
#[derive(Serialize)]
struct View {
    issue: Option<String>,
    reason: &'static str,
    repository: Place,
    sub_folder: Option<String>,
    related: Vec<Place>,
    context_dir: String,
    result_file: String,
    base_commit: String,
    base_why: String,
    release: bool,
    setup_command: Option<String>,
    test_command: Option<String>,
    baseline: Option<Baseline>,
    fence: String,
    missing: Option<String>,
    evidence: String,
}

/// A checkout, as the template sees it.
#[derive(Serialize)]
struct Place {
    name: String,
    dir: String,
}

/// The tests on the base commit, as the template sees them.
#[derive(Serialize)]
struct Baseline {
    outcome: String,
    seconds: String,
    output: Option<String>,
}

/// Characters of test output in the prompt.
const BASELINE_TAIL: usize = 3_000;

impl Prompts {
    /// Writes the prompt for the first attempt at a fix.
    ///
    /// # Errors
    /// Where a template cannot be rendered, or the budget is smaller than the instructions and the shortest evidence.
    pub fn fix(&self, redactor: &Redactor, brief: &FixBrief<'_>) -> Result<Redacted<String>, PromptError> {
        let folder = brief.context_dir.display().to_string();
        let budget = usize::try_from(brief.budget.0).unwrap_or(usize::MAX);
        let mut view = View::new(redactor, brief);
        let instructions = self.templates.render(templates::FIX, &view)?.len();
        let sections = section::sections(brief.context.get(), section::Caps::PROMPT);
        let mut room = budget.saturating_sub(instructions);
        loop {
            view.evidence = budget::fit(&sections, &brief.fence, &folder, room)
                .map_err(|evidence| PromptError::Budget { budget, needed: instructions + evidence })?;
            let prompt = redactor.text(&self.templates.render(templates::FIX, &view)?);
            let over = prompt.as_str().len().saturating_sub(budget);
            if over == 0 {
                return Ok(prompt);
            }
            // A marker may be longer than what it stands for, or the template uses the evidence more than once.
            room = room.checked_sub(over).ok_or(PromptError::Budget { budget, needed: prompt.as_str().len() })?;
        }
    }
}

impl View {
    fn new(redactor: &Redactor, brief: &FixBrief<'_>) -> Self {
        let context = brief.context.get();
        let missing: Vec<String> =
            section::missing(context).into_iter().map(|(part, why)| format!("{part}: {why}")).collect();
        let short_id = match &context.issue {
            Found::Here { value, .. } => context.alert.short_id.as_deref().or(value.short_id.as_deref()),
            Found::Missing { .. } => context.alert.short_id.as_deref(),
        };
        Self {
            issue: short_id
                .and_then(clean::short_id)
                .map(str::to_owned)
                .or_else(|| clean::number(&context.alert.issue)),
            reason: context.alert.reason.in_words(),
            repository: Place::new(&brief.repository),
            sub_folder: brief.sub_folder.as_ref().map(|path| path.display().to_string()),
            related: brief.related.iter().map(Place::new).collect(),
            context_dir: brief.context_dir.display().to_string(),
            result_file: brief.result_file.display().to_string(),
            base_commit: clean::commit(&brief.base_commit).to_owned(),
            base_why: clean::one_line(&brief.base_why, 200),
            release: context.alert.release.is_some(),
            setup_command: brief.setup_command.as_deref().map(|command| clean::one_line(command, 1_000)),
            test_command: brief.test_command.as_deref().map(|command| clean::one_line(command, 1_000)),
            baseline: brief.baseline.as_ref().map(|run| Baseline::new(redactor, brief, run)),
            fence: brief.fence.tag(),
            missing: (!missing.is_empty()).then(|| brief.fence.wrap("Patchwright", &missing.join("\n"))),
            evidence: String::new(),
        }
    }
}

impl Place {
    fn new(checkout: &Checkout) -> Self {
        Self { name: checkout.name.clone(), dir: checkout.dir.display().to_string() }
    }
}

impl Baseline {
    fn new(redactor: &Redactor, brief: &FixBrief<'_>, run: &RunFacts) -> Self {
        // Redacted before it is cut: half a secret is no longer recognised.
        let tail = redactor.text(&run.tail);
        let tail = clean::shorten_to_end(clean::visible(tail.as_str()).trim(), BASELINE_TAIL);
        Self {
            outcome: run.in_words(),
            seconds: run.seconds(),
            output: (!run.passed() && !tail.is_empty())
                .then(|| brief.fence.wrap("output of the tests on the base commit", &tail)),
        }
    }
}
