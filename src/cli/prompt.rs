//! `patchwright prompt`: what an agent would be told, without telling it.
//!
//! Invariant: makes no job, starts no agent, runs no test and changes nothing outside; standard output is the prompt alone.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::screen::Screen;
use super::{CliError, Start, run, setup};
use crate::clock;
use crate::pipeline::journal::Journal;
use crate::pipeline::{Halt, preview};
use crate::store::Delivery;

/// Arguments of `patchwright prompt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of a Sentry issue, a short id such as `WEB-1F`, or a file with a webhook's payload.
    issue: String,
    /// Write the context folder here, too, as the agent would find it.
    #[arg(long, value_name = "FOLDER")]
    context: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Where the issue, its project or its repository cannot be had.
pub async fn run(start: &Start, args: Args, screen: &mut Screen) -> Result<(), CliError> {
    let (config, secrets) = setup::checked(start)?;
    let wanted = run::wanted(&config, &secrets, &args.issue)?;
    // Without a job there is nothing to keep: the store goes with this command.
    let folder = tempfile::tempdir()?;
    let store = setup::open_store(&folder.path().join("patchwright.db")).await?;
    let seams = setup::seams_on(Arc::new(store), start, config, secrets)?;
    let asked = run::asked(&seams, wanted).await?;
    let project = run::project_of(&seams, &asked.alert)?.clone();
    let delivery = asked.payload.map(|payload| Delivery {
        id: 0,
        source: "request".to_owned(),
        resource: "request".to_owned(),
        received_at: clock::now(),
        body: payload.to_string().into_bytes(),
        outcome: crate::outcome::Outcome::Cancelled,
        job: None,
    });
    let deliveries: Vec<Delivery> = delivery.into_iter().collect();
    let journal = Journal::silent(Arc::clone(&seams.redactor));
    let cancel = CancellationToken::new();
    let shown =
        preview::preview(&seams, &asked.alert, &deliveries, &project, &journal, &cancel, args.context.as_deref());
    let prompt = shown.await.map_err(explain)?;
    screen.raw(prompt.as_str())?;
    if let Some(folder) = &args.context {
        let full = folder.canonicalize().context("the context folder was just written")?;
        screen.aside(&format!("context folder: {}", full.display()));
    }
    Ok(())
}

fn explain(halt: Halt) -> CliError {
    match halt {
        Halt::Broken { message } => CliError::Failed(anyhow::anyhow!(message)),
        Halt::Later { why, .. } => CliError::Failed(anyhow::anyhow!("{why}; try again later")),
        Halt::Cancelled | Halt::LeaseLost => CliError::Failed(anyhow::anyhow!("stopped")),
    }
}
