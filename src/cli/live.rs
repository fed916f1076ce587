//! Shows a job's history as it grows.
//!
//! Invariant: reads the store only, so that it works for jobs of any process.

use std::time::Duration;

use super::CliError;
use super::screen::{Screen, Tone, visible};
use crate::job::{EventKind, Job, JobEvent, JobId, State};
use crate::store::Store;

/// How often the store is asked for new lines.
const POLL: Duration = Duration::from_millis(100);
const PAGE: u32 = 500;

/// Prints a job's history after `last`, and moves it on, until the job is done; answers the job. May be dropped at any time.
///
/// # Errors
/// Where the store or the terminal fails.
pub async fn follow(store: &dyn Store, job: JobId, last: &mut i64, screen: &mut Screen) -> Result<Job, CliError> {
    loop {
        // The job is read first: what it wrote before it ended is then among the lines read after.
        let now = store.job(job).await.map_err(anyhow::Error::from)?;
        print_new(store, job, last, screen).await?;
        if now.state == State::Done {
            return Ok(now);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Prints a job's history after a position, and moves it on.
///
/// # Errors
/// Where the store or the terminal fails.
pub async fn print_new(store: &dyn Store, job: JobId, last: &mut i64, screen: &mut Screen) -> Result<(), CliError> {
    loop {
        let events = store.events(job, *last, PAGE).await.map_err(anyhow::Error::from)?;
        for event in &events {
            print(event, screen)?;
            *last = event.seq;
        }
        if events.len() < PAGE as usize {
            return Ok(());
        }
    }
}

fn print(event: &JobEvent, screen: &mut Screen) -> Result<(), CliError> {
    let (stage, text) = (event.stage, visible(&event.text));
    match event.kind {
        EventKind::Stage => screen.line(Tone::Bold, &format!("▸ {stage}"))?,
        EventKind::Output => screen.line(Tone::Dim, format!("    │ {text}").trim_end())?,
        EventKind::Note => {
            for line in event.text.lines() {
                screen.line(Tone::Plain, &format!("    {}", visible(line)))?;
            }
        }
        EventKind::Problem => screen.line(Tone::Warn, &format!("  ! {text}"))?,
        EventKind::Outcome => {
            for (number, line) in event.text.lines().enumerate() {
                screen.line(Tone::Bold, &format!("{} {}", if number == 0 { "■" } else { " " }, visible(line)))?;
            }
        }
    }
    Ok(())
}
