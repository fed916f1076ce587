//! The stages after the agent: tests on the change, and the draft pull request.
//!
//! Invariant: what is tested is the commit that is published, in a fresh checkout; nothing is published whose tests do
//! not pass.

use super::prepare::{Evidence, Ground, Site};
use super::saved::{Changed, Fix, Tested};
use super::{Desk, Halt, bench, blocking, brief};
use crate::config::ProjectConfig;
use crate::job::Stage;
use crate::outcome::{Abstained, Opened, Outcome, last_words};
use crate::proof::{self, Conclusion, detect};
use crate::publish::{self, Publication, PublishError, Published};
use crate::workspace::Workspace;

/// Runs the tests on every changed repository.
pub(super) async fn proof(desk: &Desk, ground: &Ground, fix: &Fix) -> Result<Result<Vec<Tested>, Outcome>, Halt> {
    desk.journal.enter(Stage::Proof).await?;
    if let Some(tested) = desk.saved::<Vec<Tested>>("proof").await?
        && covers(&tested, &fix.changed)
    {
        desk.journal.note(Stage::Proof, "the tests were run by the earlier run").await?;
        return Ok(Ok(tested));
    }
    let workspace = new_workspace(desk).await?;
    let mut all = Vec::new();
    for changed in &fix.changed {
        let site = site_of(ground, changed)?;
        let tested = match test_change(desk, ground, site, changed, fix, &workspace).await? {
            Ok(tested) => tested,
            Err(why) => return Ok(Err(Outcome::Abstained { why })),
        };
        match proof::conclude(&tested.before, &tested.after) {
            Conclusion::Tested { .. } => all.push(tested),
            Conclusion::Broken { what } => {
                let said = last_words(&proof::last_lines(&tested.after.tail, 15));
                let what = format!("{}: {what}; {said}", changed.repository);
                return Ok(Err(Outcome::Abstained { why: Abstained::TestsFailed { what } }));
            }
            // The change is saved and paid for: a registry that is down now must not cost it.
            Conclusion::Unclear { what } => {
                let repository = &changed.repository;
                return Err(Halt::soon(format!("the tests of {repository} could not be run on the change: {what}")));
            }
        }
    }
    desk.save("proof", &all).await?;
    Ok(Ok(all))
}

/// A folder that the agent never saw.
async fn new_workspace(desk: &Desk) -> Result<Workspace, Halt> {
    let (work, lease) = (desk.seams.config.data_dir.work(), desk.lease.clone());
    let keep = desk.seams.config.worker.keep_workspaces;
    blocking("make the workspace", move || Workspace::renew(&work, &lease, keep)).await
}

/// Whether these tests were of exactly these commits: a fix that was made again is tested again.
fn covers(tested: &[Tested], changed: &[Changed]) -> bool {
    let tested = tested.iter().map(|tested| (&tested.repository, &tested.commit));
    tested.eq(changed.iter().map(|changed| (&changed.repository, &changed.commit)))
}

/// How tests are run is decided by the code before the change: a change must not choose its own judge.
async fn test_change(
    desk: &Desk,
    ground: &Ground,
    site: &Site,
    changed: &Changed,
    fix: &Fix,
    workspace: &Workspace,
) -> Result<Result<Tested, Abstained>, Halt> {
    let (plan, before) = if site.id == ground.home.id {
        (bench::plan_again(&ground.project, &fix.plan), fix.baseline.clone())
    } else {
        let checkout = bench::check_out(desk, ground, site, &changed.base, workspace, "before").await?;
        let Some(plan) = bench::plan_for(project_of(desk, &changed.repository), &checkout) else {
            let what =
                format!("add a [[project]] with `test` for {} (looked for {})", changed.repository, detect::LOOKED_FOR);
            return Ok(Err(Abstained::NoTests { what }));
        };
        let before = bench::run(desk, Stage::Proof, &plan, &checkout, workspace).await?;
        (plan, before)
    };
    let checkout = bench::check_out(desk, ground, site, &changed.commit, workspace, "after").await?;
    let after = bench::run(desk, Stage::Proof, &plan, &checkout, workspace).await?;
    let (repository, commit) = (changed.repository.clone(), changed.commit.clone());
    Ok(Ok(Tested { repository, commit, before, after }))
}

/// The settings of another `[[project]]` that lives in this repository.
fn project_of<'a>(desk: &'a Desk, repository: &str) -> Option<&'a ProjectConfig> {
    desk.seams.config.projects.iter().find(|project| project.repository == repository)
}

fn site_of<'a>(ground: &'a Ground, changed: &Changed) -> Result<&'a Site, Halt> {
    ground
        .site(&changed.repository)
        .ok_or_else(|| Halt::soon(format!("{} changed, but it cannot be fetched now", changed.repository)))
}

/// Opens a draft pull request for every changed repository.
pub(super) async fn publish(
    desk: &Desk,
    ground: &Ground,
    evidence: &Evidence,
    fix: &Fix,
    tested: &[Tested],
) -> Result<Outcome, Halt> {
    desk.journal.enter(Stage::Publish).await?;
    let branch = desk.branch();
    let (mut pull_requests, mut abstained) = (Vec::<Opened>::new(), None);
    for changed in &fix.changed {
        let site = site_of(ground, changed)?;
        let text = brief::pull_request_text(desk, ground, evidence, fix, changed, tested)?;
        let publication = Publication {
            place: desk.place(site, &branch),
            commit: &changed.commit,
            base_branch: &site.default_branch,
            title: text.title,
            body: text.body,
            settings: &desk.seams.config.publish,
        };
        let seams = &desk.seams;
        let published = publish::publish(&publication, &*seams.store, &desk.lease, &*seams.forge, &desk.git()?).await;
        match published {
            Ok(Published::Opened { opened, remarks }) => {
                desk.journal.note(Stage::Publish, &format!("{} from branch `{branch}`", opened.url)).await?;
                for remark in remarks {
                    desk.journal.problem(Stage::Publish, &remark).await?;
                }
                pull_requests.push(opened);
            }
            Ok(Published::Abstained(why)) => {
                desk.journal.problem(Stage::Publish, &format!("{}: {why}", changed.repository)).await?;
                abstained = Some(why);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(match (pull_requests.is_empty(), abstained) {
        (true, Some(why)) => Outcome::Abstained { why },
        _ => Outcome::Opened { pull_requests },
    })
}

impl From<PublishError> for Halt {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            // Somebody moved our branch between our look and our push: look again.
            PublishError::Git(error @ crate::git::GitError::Stale { .. }) => Self::soon(error.to_string()),
            PublishError::Git(error) => error.into(),
            PublishError::Forge(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{TestResult, TestRun};

    fn changed(commit: &str) -> Changed {
        Changed { repository: "a/b".into(), base: "0".into(), commit: commit.into(), changes: Vec::new() }
    }

    fn tested(commit: &str) -> Tested {
        let run = TestRun { command: "t".into(), result: TestResult::Passed, took_ms: 1, tail: String::new() };
        Tested { repository: "a/b".into(), commit: commit.into(), before: run.clone(), after: run }
    }

    #[test]
    fn tests_of_another_commit_prove_nothing() {
        assert!(covers(&[tested("1")], &[changed("1")]));
        assert!(!covers(&[tested("1")], &[changed("2")]));
        assert!(!covers(&[tested("1")], &[changed("1"), changed("2")]));
        assert!(!covers(&[], &[changed("1")]));
    }
}
