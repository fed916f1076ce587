//! The prompt for an alert, without a job.
//!
//! Invariant: fetches and reads only; the templates, the evidence and the budget are those of a real run.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::prepare::{Evidence, Ground};
use super::{Halt, Seams, bench, brief, prepare};
use crate::alert::Alert;
use crate::config::ProjectConfig;
use crate::git::checkout::{self, Extras};
use crate::job::{JobId, Lease};
use crate::prompt::folder;
use crate::proof::TestPlan;
use crate::redact::Redacted;
use crate::store::Delivery;
use crate::workspace::Workspace;

/// Renders the prompt; writes the context folder where one is named.
///
/// # Errors
/// Where the evidence or the repository cannot be had.
pub async fn preview(
    seams: &Arc<Seams>,
    alert: &Alert,
    deliveries: &[Delivery],
    project: &ProjectConfig,
    journal: &Journal,
    cancel: &CancellationToken,
    context_dir: Option<&Path>,
) -> Result<Redacted<String>, Halt> {
    if let Some(dir) = context_dir.filter(|dir| !may_be_replaced(dir)) {
        let what = format!("{} is there and is not a context folder; name one that is not there", dir.display());
        return Err(Halt::broken(what));
    }
    let ground = prepare::fetch_all(seams, project, journal, cancel).await?;
    let evidence = prepare::gather(seams, alert, deliveries, &ground).await?;
    // The folders of a run that there will be; a run's own name in place of `job-0-0`.
    let lease = Lease { job: JobId(0), fence: 0, owner: String::new() };
    let workspace = Workspace::at(&seams.config.data_dir.work(), &lease);
    let plan = detected(seams, &ground, &evidence, cancel).await?;
    let brief = brief::fix_brief(seams, &ground, &evidence, plan.as_ref(), None, &workspace)?;
    if let Some(dir) = context_dir {
        folder::write_context_folder(dir, &evidence.context, &[])
            // Unlike an agent's, it lies where other users of the machine may look.
            .and_then(|_| std::fs::set_permissions(dir, Permissions::from_mode(0o500)))
            .map_err(|error| Halt::broken(format!("cannot write {}: {error}", dir.display())))?;
    }
    seams.prompts.fix(&seams.redactor, &brief).map_err(|error| Halt::broken(error.to_string()))
}

/// How the tests will be run: as configured, else as a checkout shows.
async fn detected(
    seams: &Seams,
    ground: &Ground,
    evidence: &Evidence,
    cancel: &CancellationToken,
) -> Result<Option<TestPlan>, Halt> {
    let cannot = |error: std::io::Error| Halt::broken(format!("cannot make a folder for a checkout: {error}"));
    let folder = tempfile::tempdir_in(seams.config.data_dir.path()).map_err(cannot)?;
    let dest = folder.path().join("repo");
    let git = seams.git(cancel.clone())?;
    checkout::checkout(&git, &ground.home.mirror, &evidence.base.commit, &dest, &Extras::default()).await?;
    let plan = bench::plan_for(Some(&ground.project), &dest);
    folder.close().map_err(|error| Halt::broken(format!("cannot remove a checkout: {error}")))?;
    Ok(plan)
}

/// A folder is replaced only where nothing of anybody else's is lost.
fn may_be_replaced(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none() || folder::is_context_folder(dir),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
