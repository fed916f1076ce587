//! `patchwright jobs`: list, show, cancel, retry.
//!
//! Invariant: works on the store alone, so that it can be used beside a running service.

use std::fmt::Write as _;

use clap::Subcommand;

use super::screen::{Screen, Tone, visible, visible_block, visible_json};
use super::{CliError, Start, live, setup};
use crate::config::Config;
use crate::job::{Job, JobId, State};
use crate::store::{JobFilter, Store, StoreError};

/// Arguments of `patchwright jobs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Jobs, newest first.
    List {
        /// Only `queued`, `running` or `done` jobs.
        #[arg(long)]
        state: Option<State>,
        /// At most so many.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// As JSON, one job a line.
        #[arg(long)]
        json: bool,
    },
    /// One job with its history.
    Show {
        /// The job's number.
        job: JobId,
        /// Go on until the job is done.
        #[arg(long)]
        follow: bool,
        /// As JSON, with its history.
        #[arg(long, conflicts_with = "follow")]
        json: bool,
    },
    /// Stop a job; what it started is ended within seconds.
    Cancel {
        /// The job's number.
        job: JobId,
    },
    /// Queue a job again that is done. It goes on from what was saved.
    Retry {
        /// The job's number.
        job: JobId,
        /// Start from the beginning: fetch the evidence and run the agent again.
        #[arg(long)]
        fresh: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Where there is no such job or the store cannot be used.
pub async fn run(start: &Start, args: Args, screen: &mut Screen) -> Result<(), CliError> {
    let loaded = setup::config(start)?;
    let store = setup::existing_store(&loaded).await?;
    let done = carry_out(args.command, &loaded.config, &*store, screen).await;
    // The database's companions go with its last user.
    store.close().await;
    done
}

async fn carry_out(command: Command, config: &Config, store: &dyn Store, screen: &mut Screen) -> Result<(), CliError> {
    match command {
        Command::List { state, limit, json } => list(store, JobFilter { state, limit }, json, screen).await,
        Command::Show { job, follow, json } => show(store, job, follow, json, screen).await,
        Command::Cancel { job } => {
            let text = match store.cancel(job).await.map_err(of_store)? {
                State::Done => format!("job {job} is cancelled"),
                _ => format!(
                    "job {job} is told to stop; its worker ends it within seconds. If that worker has died, cancel the job \
                     again in {}",
                    config.worker.lease
                ),
            };
            Ok(screen.line(Tone::Plain, &text)?)
        }
        Command::Retry { job, fresh } => {
            store.retry(job, fresh).await.map_err(of_store)?;
            let text = format!("job {job} is queued again; a running service takes it up within a second");
            Ok(screen.line(Tone::Plain, &text)?)
        }
    }
}

fn of_store(error: StoreError) -> CliError {
    match error {
        StoreError::NoSuchJob(_) | StoreError::NotNow { .. } => {
            CliError::Usage(format!("{error}; `patchwright jobs list` shows what there is"))
        }
        other => CliError::Failed(other.into()),
    }
}

async fn list(store: &dyn Store, filter: JobFilter, json: bool, screen: &mut Screen) -> Result<(), CliError> {
    let state = filter.state;
    let jobs = store.jobs(filter).await.map_err(of_store)?;
    if json {
        for job in &jobs {
            let line = match job {
                Ok(job) => serde_json::to_string(job).map_err(anyhow::Error::from)?,
                Err(error) => serde_json::json!({ "unreadable": error.to_string() }).to_string(),
            };
            screen.raw(&visible_json(&line))?;
        }
        return Ok(());
    }
    if jobs.is_empty() {
        let text = state.map_or_else(|| "no jobs yet".to_owned(), |state| format!("no job is {state}"));
        return Ok(screen.line(Tone::Plain, &text)?);
    }
    for job in &jobs {
        match job {
            Ok(job) => screen.line(Tone::Plain, &row(job))?,
            Err(error) => screen.line(Tone::Warn, &format!("unreadable: {error}"))?,
        }
    }
    Ok(())
}

fn row(job: &Job) -> String {
    let state = match (job.state, job.stage) {
        (State::Running, Some(stage)) => format!("running: {stage}"),
        (State::Done, _) => job.outcome.as_ref().map_or("done", |outcome| outcome.name()).to_owned(),
        (state, _) => state.to_string(),
    };
    let mut title: String = visible(&job.alert.title).chars().take(60).collect();
    if let Some(outcome) = &job.outcome {
        let outcome = visible(&outcome.to_string().replace('\n', " "));
        let cut = if outcome.chars().count() > 120 { "…" } else { "" };
        let _ = write!(title, " — {}{cut}", outcome.chars().take(120).collect::<String>());
    }
    format!(
        "{:>5}  {}  {:<18} {:<20} {:<12} {title}",
        job.id,
        job.created_at.format("%m-%d %H:%M"),
        state,
        visible(&job.key.project),
        visible(&job.alert.issue_name())
    )
}

async fn show(store: &dyn Store, id: JobId, follow: bool, json: bool, screen: &mut Screen) -> Result<(), CliError> {
    let job = store.job(id).await.map_err(of_store)?;
    if json {
        let events = store.events(id, 0, u32::MAX).await.map_err(of_store)?;
        let attempts = store.attempts(id).await.map_err(of_store)?;
        let all = serde_json::json!({ "job": job, "attempts": attempts, "events": events });
        return Ok(screen.raw(&visible_json(&serde_json::to_string_pretty(&all).map_err(anyhow::Error::from)?))?);
    }
    let alert = &job.alert;
    let deliveries = store.delivery_count(id).await.map_err(of_store)?;
    screen.line(Tone::Bold, &format!("job {id}: {}", visible(&alert.title)))?;
    let mut facts = vec![
        ("issue", format!("{} in {}, epoch {}", alert.issue_name(), job.key.project, job.key.epoch)),
        ("reason", format!("the issue {}", alert.reason.in_words())),
        ("address", alert.web_url.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("state", format!("{}; runs: {}, deliveries: {deliveries}", job.state, job.runs)),
        ("queued", job.created_at.to_rfc3339()),
    ];
    if let Some(finished) = job.finished_at {
        facts.push(("ended", finished.to_rfc3339()));
    }
    if let Some(outcome) = &job.outcome {
        facts.push(("outcome", outcome.to_string()));
    }
    for attempt in store.attempts(id).await.map_err(of_store)? {
        let result = attempt.result.unwrap_or_else(|| "has not come to its end".to_owned());
        facts.push(("attempt", format!("{}, agent `{}` {result}", attempt.number, attempt.agent)));
    }
    for (name, text) in facts {
        screen.line(Tone::Plain, &format!("  {name:<8} {}", visible_block(&text)))?;
    }
    if follow {
        live::follow(store, id, &mut 0, screen).await?;
    } else {
        live::print_new(store, id, &mut 0, screen).await?;
    }
    Ok(())
}
