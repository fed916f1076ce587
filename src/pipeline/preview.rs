//! The prompt for an alert, without a job.
//!
//! Invariant: fetches and reads only; the templates, the evidence and the budget are those of a real run.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::{Halt, Seams, brief, prepare};
use crate::alert::Alert;
use crate::config::ProjectConfig;
use crate::job::{JobId, Lease};
use crate::prompt::folder;
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
    let ground = prepare::fetch_all(seams, project, journal, cancel).await?;
    let evidence = prepare::gather(seams, alert, deliveries, &ground).await?;
    let lease = Lease { job: JobId(0), fence: 0, owner: String::new() };
    let workspace = Workspace::at(&seams.config.data_dir.work(), &lease);
    let brief = brief::fix_brief(seams, &ground, &evidence, None, None, &workspace)?;
    if let Some(dir) = context_dir {
        folder::write_context_folder(dir, &evidence.context, &[])
            .map_err(|error| Halt::broken(format!("cannot write {}: {error}", dir.display())))?;
    }
    seams.prompts.fix(&seams.redactor, &brief).map_err(|error| Halt::broken(error.to_string()))
}
