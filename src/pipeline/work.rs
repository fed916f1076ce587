//! The stages around the agent: checkouts, baseline, prompt, agent, and taking its result as objects.
//!
//! Invariant: the agent's change is a pinned commit in our mirror, and saved, before anything else is done with it; no
//! later crash makes the agent run again.

use std::path::{Path, PathBuf};

use super::prepare::{Evidence, Ground, Site, short};
use super::saved::Fix;
use super::take::{Taken, Tree, take_changes};
use super::{Desk, Halt, bench, blocking, brief};
use crate::agent::handback::{AgentVerdict, Handback};
use crate::agent::{self, AgentRun, Places, profile};
use crate::config::AgentConfig;
use crate::git::checkout;
use crate::git::objects::{self, Draft, Rules, SnapshotError};
use crate::job::Stage;
use crate::outcome::{Abstained, Outcome, last_words};
use crate::process::{Ended, Stop};
use crate::prompt::folder;
use crate::proof::{self, TestPlan, TestRun, detect};
use crate::workspace::Workspace;

/// From the evidence to the agent's change.
pub(super) async fn fix(desk: &Desk, ground: &Ground, evidence: &Evidence) -> Result<Result<Fix, Outcome>, Halt> {
    if let Some(fix) = earlier(desk, ground).await? {
        return Ok(Ok(fix));
    }
    let (agent_name, agent) = profile::for_project(&desk.seams.config, &ground.project).map_err(Halt::broken)?;

    desk.journal.enter(Stage::Checkout).await?;
    let workspace = workspace(desk, ground, evidence).await?;

    desk.journal.enter(Stage::Baseline).await?;
    let is_missing = |path: &&Path| proof::folder_in(&workspace.repository(), path).is_none();
    if let Some(path) = ground.project.path.as_deref().filter(is_missing) {
        return Err(Halt::broken(format!(
            "`path` of project `{}` is {}, and {} has no such folder at {}; correct it in [[project]] or in `.patchwright.toml`",
            ground.project.sentry,
            path.display(),
            ground.home.id,
            short(&evidence.base.commit)
        )));
    }
    let Some(plan) = bench::plan_for(Some(&ground.project), &workspace.repository()) else {
        let what = format!(
            "set `test` for {} in [[project]] or in its `.patchwright.toml` (looked for {})",
            ground.home.id,
            detect::LOOKED_FOR
        );
        return Ok(Err(Outcome::Abstained { why: Abstained::NoTests { what } }));
    };
    let baseline = baseline(desk, ground, evidence, &plan, &workspace).await?;

    let (home, tmp) = bench::home_and_tmp(&workspace, "agent").await?;
    if let Some(setup) = &plan.setup {
        bench::set_up(desk, setup, &plan, &workspace.repository(), (&home, &tmp), &workspace).await?;
    }
    let mut trees = vec![tree(&ground.home, &evidence.base.commit, workspace.repository(), &workspace).await?];
    for site in &ground.related {
        trees.push(tree(site, &site.head, workspace.related(&site.id.to_string()), &workspace).await?);
    }

    desk.journal.enter(Stage::Prompt).await?;
    let prompt = write_prompt(desk, ground, evidence, &plan, &baseline, &workspace).await?;

    desk.journal.enter(Stage::Agent).await?;
    let run = run_agent(desk, (&agent_name, &agent), &prompt, (home, tmp), &workspace).await?;
    let handback = match judge(desk, &run)? {
        Ok(handback) => handback,
        Err(why) => return Ok(Err(Outcome::Abstained { why })),
    };
    let Taken { changed, not_taken } =
        match take_changes(desk, &agent_name, evidence, handback.as_ref(), &trees).await? {
            Ok(taken) => taken,
            Err(why) => return Ok(Err(Outcome::Abstained { why })),
        };
    let last_words = final_words(desk, &run);
    if changed.is_empty() {
        let said = handback.map(|handback| handback.summary).filter(|summary| !summary.trim().is_empty());
        let diagnosis = [vec![said.unwrap_or(last_words)], not_taken].concat().join("\n");
        return Ok(Err(Outcome::Abstained { why: Abstained::NothingChanged { diagnosis } }));
    }
    let fix = Fix { agent: agent_name, handback, last_words, changed, plan, baseline };
    desk.save("fix", &fix).await?;
    Ok(Ok(fix))
}

/// The change of an earlier run, if the mirrors still hold it: somebody may have removed one, and the forge, from which
/// it was made again, has the change only once it was pushed.
async fn earlier(desk: &Desk, ground: &Ground) -> Result<Option<Fix>, Halt> {
    let Some(fix) = desk.saved::<Fix>("fix").await? else { return Ok(None) };
    for changed in &fix.changed {
        // A repository that cannot be fetched now is waited for by the proof.
        let Some(site) = ground.site(&changed.repository) else { continue };
        if site.mirror.resolve(&changed.commit).await?.is_none() {
            let text = format!(
                "the mirror of {} does not hold the earlier run's change (commit {}) any more; the agent starts again",
                changed.repository,
                short(&changed.commit)
            );
            desk.journal.problem(Stage::Agent, &text).await?;
            return Ok(None);
        }
    }
    desk.journal.note(Stage::Agent, "the agent's change is there from the earlier run").await?;
    Ok(Some(fix))
}

/// The folder of the run, with the checkouts for the agent.
async fn workspace(desk: &Desk, ground: &Ground, evidence: &Evidence) -> Result<Workspace, Halt> {
    let (work, lease) = (desk.seams.config.data_dir.work(), desk.lease.clone());
    let workspace = blocking("make the workspace", move || Workspace::create(&work, &lease)).await?;
    check_out(desk, &ground.home, &evidence.base.commit, &workspace.repository(), ground).await?;
    for site in &ground.related {
        check_out(desk, site, &site.head, &workspace.related(&site.id.to_string()), ground).await?;
    }
    Ok(workspace)
}

async fn check_out(
    desk: &Desk,
    site: &Site,
    commit: &str,
    dest: &std::path::Path,
    ground: &Ground,
) -> Result<(), Halt> {
    let extras = bench::extras_for(desk, site, ground);
    checkout::checkout(&desk.git()?, &site.mirror, commit, dest, &extras).await?;
    desk.journal.note(Stage::Checkout, &format!("{} at {}", site.id, short(commit))).await.map_err(Halt::from)
}

async fn baseline(
    desk: &Desk,
    ground: &Ground,
    evidence: &Evidence,
    plan: &TestPlan,
    workspace: &Workspace,
) -> Result<TestRun, Halt> {
    // Another commit or another command is another baseline.
    let of = (evidence.base.commit.as_str(), plan);
    if let Some((commit, earlier, run)) = desk.saved::<(String, TestPlan, TestRun)>("baseline").await?
        && (commit.as_str(), &earlier) == of
    {
        desk.journal.note(Stage::Baseline, &format!("`{}` {} (earlier run)", run.command, run.in_words())).await?;
        return Ok(run);
    }
    let checkout = bench::check_out(desk, ground, &ground.home, &evidence.base.commit, workspace, "before").await?;
    let run = bench::run(desk, Stage::Baseline, plan, &checkout, workspace).await?;
    if let Some(what) = run.why_not_run() {
        // An agent's work that cannot be checked is not worth its money.
        return Err(Halt::broken(format!(
            "the tests of {} cannot be run on the code as it is, so no change could be checked: {what}",
            ground.home.id
        )));
    }
    desk.save("baseline", &(of.0, of.1, &run)).await?;
    Ok(run)
}

/// Takes the tree of a checkout as the state that the agent starts from.
async fn tree<'a>(site: &'a Site, base: &str, dir: PathBuf, workspace: &Workspace) -> Result<Tree<'a>, Halt> {
    let draft = Draft::new(&site.mirror, &workspace.draft(&site.id.to_string()))?;
    // What the setup leaves behind is not published, so it is only read, not judged.
    let before = objects::snapshot(&draft, base, &dir, &Rules::for_setup()).await.map_err(|error| match error {
        SnapshotError::Refused(refusal) => {
            Halt::broken(format!("the checkout of {} cannot be read after its setup: {refusal}", site.id))
        }
        SnapshotError::Failed(error) => error.into(),
    })?;
    Ok(Tree { site, base: base.to_owned(), dir, draft, before })
}

async fn write_prompt(
    desk: &Desk,
    ground: &Ground,
    evidence: &Evidence,
    plan: &TestPlan,
    baseline: &TestRun,
    workspace: &Workspace,
) -> Result<String, Halt> {
    let brief = brief::fix_brief(&desk.seams, ground, evidence, Some(plan), Some(baseline), workspace)?;
    let prompt =
        desk.seams.prompts.fix(&desk.seams.redactor, &brief).map_err(|error| Halt::broken(error.to_string()))?;
    let write = || -> std::io::Result<()> {
        folder::write_context_folder(&workspace.context(), &evidence.context, &[])?;
        std::fs::write(workspace.prompt_file(), prompt.as_str())
    };
    write().map_err(|error| Halt::broken(format!("cannot write the context folder: {error}")))?;
    let text = format!("{} bytes of prompt, the rest of the evidence in the context folder", prompt.as_str().len());
    desk.journal.note(Stage::Prompt, &text).await?;
    Ok(prompt.into_inner())
}

async fn run_agent(
    desk: &Desk,
    (name, agent): (&str, &AgentConfig),
    prompt: &str,
    (home, tmp): (PathBuf, PathBuf),
    workspace: &Workspace,
) -> Result<AgentRun, Halt> {
    let places = Places {
        workspace: workspace.repository(),
        context_dir: workspace.context(),
        prompt_file: workspace.prompt_file(),
        result_file: workspace.result_file(),
        home,
        tmp,
    };
    let attempt = desk.seams.store.begin_attempt(&desk.lease, name).await?;
    desk.journal.note(Stage::Agent, &format!("attempt {attempt}: agent `{name}` starts")).await?;
    let (places, environment) = (&places, &desk.seams.environment);
    let run = bench::live(desk, Stage::Agent, workspace, |terms| async move {
        agent::run(agent, places, prompt, environment, &terms).await
    });
    let run = match run.await {
        Ok(run) => run,
        Err(error) => {
            let text = desk.seams.redactor.text(&error.to_string());
            desk.insist(|| desk.seams.store.end_attempt(&desk.lease, attempt, &text)).await?;
            return Err(Halt::broken(format!("agent `{name}`: {error}; `patchwright doctor` checks it")));
        }
    };
    let leftovers = if run.leftovers == 0 {
        String::new()
    } else {
        format!("; {} processes it left behind were ended", run.leftovers)
    };
    let text = format!("{} after {:.1} s{leftovers}", run.ended, run.took.as_secs_f64());
    let result = desk.seams.redactor.text(&text);
    desk.insist(|| desk.seams.store.end_attempt(&desk.lease, attempt, &result)).await?;
    let text = format!("agent `{name}` {text}");
    desk.insist(|| desk.journal.note(Stage::Agent, &text)).await?;
    Ok(run)
}

/// What the agent said at the end, without secrets.
fn final_words(desk: &Desk, run: &AgentRun) -> String {
    agent::last_words(&run.tail, |text| desk.seams.redactor.text(text).into_inner())
}

/// Whether the agent's work is worth a look at its files.
fn judge(desk: &Desk, run: &AgentRun) -> Result<Result<Option<Handback>, Abstained>, Halt> {
    let redact = |text: &str| desk.seams.redactor.text(text).into_inner();
    let failed = |what: String| Ok(Err(Abstained::AgentFailed { what }));
    let handback = match (run.ended, &run.handback) {
        (Ended::Stopped(Stop::Cancelled), _) => return Err(Halt::Cancelled),
        (ended @ (Ended::Stopped(_) | Ended::Signal(_)), _) => return failed(format!("it {ended}")),
        // What it says may be that nothing should be published.
        (ended, Err(what)) => return failed(format!("it {ended}, but {}", redact(what))),
        // Exit codes of agents mean little; a result file says that it came to its own end.
        (Ended::Exit(code), Ok(None)) if code != 0 => {
            let said = last_words(&final_words(desk, run));
            return failed(format!("it ended with exit code {code} and left no result; {said}"));
        }
        (Ended::Exit(_), Ok(handback)) => handback.clone(),
    };
    let handback = handback.map(|mut handback| {
        handback.root_cause = redact(&handback.root_cause);
        handback.summary = redact(&handback.summary);
        handback.tests.iter_mut().for_each(|test| *test = redact(test));
        handback
    });
    if let Some(handback) = &handback
        && handback.verdict == AgentVerdict::NoFix
    {
        let said = [handback.root_cause.as_str(), handback.summary.as_str()];
        let said = said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" — ");
        let diagnosis = if said.is_empty() { final_words(desk, run) } else { said };
        return Ok(Err(Abstained::NoFix { diagnosis }));
    }
    Ok(Ok(handback))
}
