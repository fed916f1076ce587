//! Fresh checkouts in which tests are run, and the runs themselves.
//!
//! Invariant: a checkout is used for one run of the tests and was never seen by an agent.

use std::path::{Path, PathBuf};

use super::prepare::{Ground, Site};
use super::{Desk, Halt, blocking};
use crate::config::{CommandLine, ProjectConfig};
use crate::git::checkout::{self, Extras, Submodules};
use crate::git::objects;
use crate::job::Stage;
use crate::process::Terms;
use crate::proof::{self, Bench, Cancelled, TestPlan, TestRun, detect};
use crate::workspace::Workspace;

/// The commands for a repository: as configured, else as detected in this clean checkout.
pub(super) fn plan_for(project: Option<&ProjectConfig>, checkout: &Path) -> Option<TestPlan> {
    let path = project.and_then(|project| project.path.clone()).unwrap_or_default();
    let pass_env = project.map(|project| project.pass_env.clone()).unwrap_or_default();
    let setup = project.and_then(|project| project.setup.clone());
    if let Some(test) = project.and_then(|project| project.test.clone()) {
        return Some(TestPlan { setup, test, path, pass_env });
    }
    proof::folder_in(checkout, &path)?;
    let found = detect::detect(checkout, &path)?;
    Some(TestPlan { setup: setup.or(found.setup), test: found.test, path, pass_env })
}

/// The commands of an earlier run, as far as they are not configured. What was saved went through redaction, which may
/// have taken something out of a configured command; a detected one holds nothing secret.
pub(super) fn plan_again(project: &ProjectConfig, saved: &TestPlan) -> TestPlan {
    TestPlan {
        setup: project.setup.clone().or_else(|| saved.setup.clone()),
        test: project.test.clone().unwrap_or_else(|| saved.test.clone()),
        path: project.path.clone().unwrap_or_default(),
        pass_env: project.pass_env.clone(),
    }
}

/// Submodules and LFS are the project's own choice; related repositories are there to be read.
pub(super) fn extras_for(desk: &Desk, site: &Site, ground: &Ground) -> Extras {
    let own = site.id == ground.home.id;
    let submodules = || Submodules { remote: site.remote.clone(), mirrors: desk.seams.config.data_dir.mirrors() };
    Extras {
        lfs: (own && ground.project.lfs).then(|| site.remote.clone()),
        submodules: (own && ground.project.submodules).then(submodules),
    }
}

/// Checks a commit out afresh, for tests `before` or `after` the change.
pub(super) async fn check_out(
    desk: &Desk,
    ground: &Ground,
    site: &Site,
    commit: &str,
    workspace: &Workspace,
    when: &str,
) -> Result<PathBuf, Halt> {
    let dest = workspace.bench(&site.id.to_string(), when);
    if let Some(parent) = dest.parent() {
        std::fs::create_dir_all(parent).map_err(|error| cannot_make(&error))?;
    }
    checkout::checkout(&desk.git()?, &site.mirror, commit, &dest, &extras_for(desk, site, ground)).await?;
    verify(site, commit, &dest).await?;
    Ok(dest)
}

/// `git` believes the mirror, in which an agent without a sandbox could have replaced a test; libgit2 computes each id.
async fn verify(site: &Site, commit: &str, checkout: &Path) -> Result<(), Halt> {
    let Some(what) = objects::difference(&site.mirror, commit, checkout).await? else { return Ok(()) };
    Err(Halt::broken(format!(
        "the checkout of {} for the tests does not hold what its commit says ({what}); remove the mirror {} so that it is \
         made again, and find out what has changed it",
        site.id,
        site.mirror.path().display()
    )))
}

/// Runs the tests once in a fresh checkout.
pub(super) async fn run(
    desk: &Desk,
    stage: Stage,
    plan: &TestPlan,
    checkout: &Path,
    workspace: &Workspace,
) -> Result<TestRun, Halt> {
    let (home, tmp) = home_and_tmp(workspace, stage.name()).await?;
    let (environment, redactor) = (&desk.seams.environment, &*desk.seams.redactor);
    let run = live(desk, stage, workspace, |terms| async move {
        let bench = Bench { checkout, home: &home, tmp: &tmp, environment, redactor, terms: &terms };
        proof::run_tests(plan, &bench).await
    });
    let run = run.await.map_err(|Cancelled| Halt::Cancelled)?;
    let took = match run.took_ms {
        0 => String::new(),
        millis => format!(" after {:.1} s", std::time::Duration::from_millis(millis).as_secs_f64()),
    };
    desk.journal.note(stage, &format!("`{}` {}{took}", run.command, run.in_words())).await?;
    Ok(run)
}

/// Runs the setup command in the checkout that the agent will work in, as it is run before the tests, with the agent's
/// HOME and TMPDIR: what it installs there is for the agent, too.
pub(super) async fn set_up(
    desk: &Desk,
    setup: &CommandLine,
    plan: &TestPlan,
    checkout: &Path,
    (home, tmp): (&Path, &Path),
    workspace: &Workspace,
) -> Result<(), Halt> {
    // Before its output, which would otherwise seem to be that of the tests.
    desk.journal.note(Stage::Baseline, &format!("`{}` prepares the agent's checkout", setup.shown())).await?;
    let (environment, redactor) = (&desk.seams.environment, &*desk.seams.redactor);
    let prepared = live(desk, Stage::Baseline, workspace, |terms| async move {
        let bench = Bench { checkout, home, tmp, environment, redactor, terms: &terms };
        proof::prepare(setup, plan, &bench).await
    });
    match prepared.await {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(Halt::broken(what)),
        Err(Cancelled) => Err(Halt::Cancelled),
    }
}

/// Runs a command on the terms for a workspace, with what it prints live in the history.
pub(super) async fn live<T, Run: Future<Output = T>>(
    desk: &Desk,
    stage: Stage,
    workspace: &Workspace,
    command: impl FnOnce(Terms) -> Run,
) -> T {
    let limits = &desk.seams.config.limits;
    let (lines, keeper) = desk.journal.output(stage);
    let terms = Terms {
        limits: if stage == Stage::Agent { limits.agent } else { limits.tests },
        folder: workspace.root().to_path_buf(),
        supervisor: desk.seams.executable.clone(),
        cancel: desk.cancel.clone(),
        stopping: desk.stopping.clone(),
        lines: Some(lines),
    };
    let done = command(terms).await;
    // The keeper ends when the last sender is gone, which the command's terms held.
    if let Err(error) = keeper.await {
        tracing::error!(job = desk.job.id.0, %error, "the rest of a command's output was not kept");
    }
    done
}

/// A fresh HOME and TMPDIR for one command. What an earlier one left there may be large.
pub(super) async fn home_and_tmp(workspace: &Workspace, whose: &str) -> Result<(PathBuf, PathBuf), Halt> {
    let what = format!("make a HOME and TMPDIR for the command in {}", workspace.root().display());
    let (workspace, whose) = (workspace.clone(), whose.to_owned());
    blocking(&what, move || workspace.home_and_tmp(&whose)).await
}

fn cannot_make(error: &std::io::Error) -> Halt {
    Halt::broken(format!("cannot make a folder for the tests: {error}; is the disk full?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_command_is_taken_from_the_configuration_and_not_from_what_was_saved() {
        let shell = |line: &str| CommandLine::Shell(line.to_owned());
        let saved = TestPlan {
            setup: Some(shell("bundle install")),
            test: shell("KEY=[redacted] make test"),
            path: PathBuf::new(),
            pass_env: Vec::new(),
        };
        let text = "sentry = \"a\"\nrepository = \"a/b\"\ntest = \"KEY=abc make test\"\n";
        let plan = plan_again(&toml::from_str(text).unwrap(), &saved);
        assert_eq!((plan.test, plan.setup), (shell("KEY=abc make test"), Some(shell("bundle install"))));
        let nothing = toml::from_str("sentry = \"a\"\nrepository = \"a/b\"\n").unwrap();
        assert_eq!(plan_again(&nothing, &saved), saved);
    }
}
