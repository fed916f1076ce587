//! `patchwright demo`: the whole path on a sample repository.
//!
//! Invariant: everything between the signed request and the draft pull request is the code that runs in production;
//! only the repository, the alert and (unless another is named) the agent are made for the demo, and labelled so. It works
//! on what it made and on nothing else: no setting and no credential of a service that is set up here reaches it.

mod agent;
mod folder;
mod sample;
mod show;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::screen::{Screen, Tone, visible_block};
use super::{CliError, Start, live, serve, setup};
use crate::job::JobId;
use crate::outcome::Outcome;
use crate::pipeline::Seams;
use crate::process;
use crate::source::sentry::signature;
use folder::Folder;

/// Arguments of `patchwright demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use a real agent: a built-in profile such as `claude`, or a command line. Default: a scripted stand-in.
    #[arg(long, value_name = "PROFILE OR COMMAND")]
    agent: Option<String>,
    /// Folder for everything that the demo makes. Default: a new one in the system's folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Leave the server running afterwards, until Ctrl-C.
    #[arg(long)]
    keep_serving: bool,
}

/// What a demo has come to so far.
#[derive(Debug, Default)]
struct Progress {
    job: Option<JobId>,
    opened: bool,
}

/// Runs the command.
///
/// # Errors
/// Where a needed program is missing, or the path did not lead to a pull request.
pub async fn run(start: &Start, args: Args, screen: &mut Screen) -> Result<(), CliError> {
    if start.config.is_some() || !start.set.is_empty() {
        let text = "the demo writes a configuration of its own: leave out --config and --set; afterwards they work on what \
                    it made";
        return Err(CliError::Usage(text.to_owned()));
    }
    let environment = start.environment.without_settings();
    for program in ["git", "python3"] {
        process::find_program(program, Path::new("/"), environment.path()).ok_or_else(|| {
            CliError::Usage(format!(
                "the demo needs `{program}`, which is not on PATH; on Debian: apt install {program}"
            ))
        })?;
    }
    let mut folder = Folder::make(args.dir.as_deref())?;
    let agent = agent::choose(args.agent.as_deref(), &folder.script(), &environment)?;
    headline(screen, "1. A repository with a planted bug and a history")?;
    let forge = folder.forge();
    let repository = sample::make(&Path::new(&forge).join("acme").join("shop.git"))?;
    for commit in &repository.commits {
        screen.line(Tone::Plain, &format!("    {} {}", &commit.id[..8.min(commit.id.len())], commit.subject))?;
    }
    screen.line(Tone::Dim, &format!("    in {forge}"))?;

    headline(screen, "2. The real server, with an embedded SQLite database")?;
    let own = Start { config: Some(folder.configure(&agent)?), set: Vec::new(), environment };
    let (config, secrets) = setup::checked(&own)?;
    let seams = setup::seams(&own, config, secrets).await?;
    let mut signals = serve::StopSignals::listen()?;
    let mut service = serve::start_service(&seams).await?;
    let address = service.address;
    screen.line(Tone::Plain, &format!("    listening on http://{address}"))?;
    screen.line(Tone::Plain, &format!("    agent: {}", visible_block(&agent.shown)))?;

    let mut progress = Progress::default();
    let told = tokio::select! {
        told = tell(&seams, address, &mut folder, &mut progress, screen) => Some(told),
        _ = signals.next() => None,
        () = service.failed() => return Err(anyhow::anyhow!("the service ended unexpectedly").into()),
    };
    if told.is_none() {
        signals.settle().await;
        screen.line(Tone::Bold, "\nstopping; Ctrl-C again stops at once")?;
    }
    if let Some(job) = progress.job.filter(|_| folder.is_kept()) {
        show::where_it_is(&folder, job, screen)?;
    }
    let stopped = if args.keep_serving && matches!(told, Some(Ok(()))) {
        show::serving(&folder, address, screen)?;
        service.until_told(&mut signals).await
    } else {
        service.stop_or_at_once(&mut signals).await
    };
    told.unwrap_or(Ok(())).and(stopped)?;
    if progress.opened { Ok(()) } else { Err(CliError::Negative) }
}

/// From the alert to the pull request; may be dropped at any time.
async fn tell(
    seams: &Seams,
    address: SocketAddr,
    folder: &mut Folder,
    progress: &mut Progress,
    screen: &mut Screen,
) -> Result<(), CliError> {
    headline(screen, "3. A signed Sentry alert over HTTP")?;
    let job = post_alert(seams, address, &folder.alert(), screen).await?;
    // From here on there is something to look into.
    folder.keep();
    progress.job = Some(job);
    headline(screen, &format!("4. Job {job}, as it happens"))?;
    let done = live::follow(&*seams.store, job, &mut 0, screen).await?;
    if let Some(Outcome::Opened { .. }) = done.outcome {
        progress.opened = true;
        show::pull_request(seams, job, screen).await?;
    }
    Ok(())
}

fn headline(screen: &mut Screen, text: &str) -> Result<(), CliError> {
    screen.line(Tone::Plain, "")?;
    Ok(screen.line(Tone::Bold, text)?)
}

/// What the server answers: a job, or why there is none.
#[derive(Deserialize)]
struct Answer {
    delivery: i64,
    job: Option<JobId>,
}

/// Signs the alert as Sentry does and posts it.
async fn post_alert(seams: &Seams, address: SocketAddr, alert: &str, screen: &mut Screen) -> Result<JobId, CliError> {
    let alert = std::fs::read(alert).context("the alert cannot be read")?;
    let secret = seams.secrets.webhook.first().context("the demo's webhook secret is not there")?;
    let signature = signature::sign(secret.value.expose_secret(), &alert);
    screen.line(
        Tone::Plain,
        &format!(
            "    POST /webhooks/sentry, {} bytes, Sentry-Hook-Signature: {}…",
            alert.len(),
            &signature[..12.min(signature.len())]
        ),
    )?;
    // The server is on this machine: a proxy for the outside has no part in it.
    let client = reqwest::Client::builder().no_proxy().build().context("the alert cannot be posted")?;
    let sent = client
        .post(format!("http://{address}/webhooks/sentry"))
        .header("Content-Type", "application/json")
        .header("Sentry-Hook-Resource", "event_alert")
        .header("Sentry-Hook-Timestamp", crate::clock::now().timestamp().to_string())
        .header("Request-ID", "demo")
        .header("Sentry-Hook-Signature", signature)
        .body(alert)
        .send();
    let response = sent.await.context("the alert could not be posted")?;
    let status = response.status();
    let text = response.text().await.context("the server's answer could not be read")?;
    screen.line(Tone::Plain, &format!("    {status} {}", visible_block(text.trim())))?;
    let answer: Answer = serde_json::from_str(&text).context("the server did not take the alert")?;
    screen.line(Tone::Dim, &format!("    delivery {} is committed to disk", answer.delivery))?;
    Ok(answer.job.context("the server made no job of the alert; its answer says why")?)
}
