//! Takes jobs and runs the pipeline on them, under a lease that a heartbeat keeps alive.
//!
//! Invariant: when the lease is lost, the job cancelled or the service told to stop, the run's whole process tree ends
//! before this module lets go of it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Moment};
use crate::job::{Job, Lease, Stage};
use crate::outcome::Outcome;
use crate::pipeline::journal::Journal;
use crate::pipeline::{self, Desk, Halt, Seams};
use crate::store::{Claim, StoreError};
use crate::workspace;

/// How often the queue is looked at when nobody says that there is something new.
const POLL: Duration = Duration::from_secs(1);

/// Why a run was told to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    ByPerson,
    LeaseLost,
}

/// Runs workers until `shutdown`, then lets running jobs end within the configured grace and hands back the rest.
pub async fn run(seams: Arc<Seams>, wake: Arc<Notify>, shutdown: CancellationToken) {
    let hard_stop = CancellationToken::new();
    let sweeper = tokio::spawn(keep_sweeping(Arc::clone(&seams)));
    let mut workers = JoinSet::new();
    for number in 0..seams.config.worker.count {
        let (seams, wake) = (Arc::clone(&seams), Arc::clone(&wake));
        let (shutdown, hard_stop) = (shutdown.clone(), hard_stop.clone());
        workers.spawn(async move { work(&seams, &wake, number, &shutdown, &hard_stop).await });
    }
    shutdown.cancelled().await;
    let grace = seams.config.worker.shutdown_grace.0;
    let all_ended = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        tracing::info!("jobs are still running after the grace of {:?}; handing them back", grace);
        hard_stop.cancel();
        while workers.join_next().await.is_some() {}
    }
    sweeper.abort();
}

async fn work(
    seams: &Arc<Seams>,
    wake: &Notify,
    number: usize,
    shutdown: &CancellationToken,
    hard_stop: &CancellationToken,
) {
    let claim = claim_terms(seams, &format!("{}-{number}", owner_name()));
    while !shutdown.is_cancelled() {
        // Listening begins before the look, so that a job queued in between is not slept over.
        let woken = wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        match seams.store.claim(&claim).await {
            Ok(Some((job, lease))) => {
                run_claimed(seams, job, lease, hard_stop).await;
                // What a crash cut off earlier of this job is not in use any more.
                sweep(seams).await;
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "no job could be claimed"),
        }
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(POLL) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// The terms on which this process claims jobs.
#[must_use]
pub fn claim_terms(seams: &Seams, owner: &str) -> Claim {
    let worker = &seams.config.worker;
    Claim {
        owner: owner.to_owned(),
        lease: worker.lease.0,
        per_repository: worker.per_repository,
        max_runs: worker.max_runs,
    }
}

/// A name that no other process has at the same time.
#[must_use]
pub fn owner_name() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    format!("{host}-{}-{:x}", std::process::id(), clock::to_millis(clock::now()))
}

/// Runs one claimed job to its end and settles it. `stop` hands it back.
pub async fn run_claimed(seams: &Arc<Seams>, job: Job, lease: Lease, stop: &CancellationToken) {
    let number = lease.job.0;
    tracing::info!(job = number, run = job.runs, issue = %job.alert.issue_name().escape_debug(), "run begins");
    let cancel = stop.child_token();
    let journal = Journal::new(Arc::clone(&seams.store), lease.clone(), Arc::clone(&seams.redactor));
    let desk = Desk { seams: Arc::clone(seams), job, lease: lease.clone(), journal, cancel: cancel.clone() };

    let asked = CancellationToken::new();
    let (mut told, mut heartbeat) = (None, Box::pin(heartbeat(seams, &lease, &asked)));
    // A panic in a stage must end this run, not the worker.
    let mut run = tokio::spawn({
        let desk = desk.clone();
        async move { Box::pin(pipeline::run(&desk)).await }
    });
    let result = loop {
        tokio::select! {
            result = &mut run => break result,
            () = asked.cancelled(), if told.is_none() => {
                told = Some(Told::ByPerson);
                cancel.cancel();
            }
            () = &mut heartbeat, if told != Some(Told::LeaseLost) => {
                told = Some(Told::LeaseLost);
                cancel.cancel();
            }
        }
    };
    let result = result.unwrap_or_else(|panic| {
        tracing::error!(job = number, %panic, "a stage panicked");
        Err(Halt::Broken { message: "a stage ended unexpectedly; the service's log has the details".to_owned() })
    });
    settle(&desk, result, told).await;
    if !seams.config.worker.keep_workspaces {
        remove_workspace(seams, &workspace::folder_name(lease.job, lease.fence)).await;
    }
}

/// Keeps the lease alive, also while a run that a person stopped winds down; returns when the lease is lost.
async fn heartbeat(seams: &Seams, lease: &Lease, asked: &CancellationToken) {
    let length = seams.config.worker.lease.0;
    // Stop well before somebody else may start: a renewal that hangs must not keep us going.
    let margin = length / 4;
    let mut holds_until = tokio::time::Instant::now() + length - margin;
    loop {
        tokio::time::sleep(length / 5).await;
        let sent = tokio::time::Instant::now();
        match tokio::time::timeout_at(holds_until, seams.store.renew(lease, length)).await {
            Ok(Ok(stop_wanted)) => {
                holds_until = sent + length - margin;
                if stop_wanted {
                    asked.cancel();
                }
            }
            Ok(Err(StoreError::LeaseLost(_))) => return,
            Ok(Err(error)) => tracing::warn!(job = lease.job.0, %error, "the lease could not be renewed"),
            Err(_) => tracing::warn!(job = lease.job.0, "the database did not renew the lease in time"),
        }
        if tokio::time::Instant::now() >= holds_until {
            return;
        }
    }
}

/// How often a job was taken up, and how often it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tries {
    made: i64,
    most: u32,
}

/// What becomes of a job after a run.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Ending {
    /// Another worker has it.
    Elsewhere,
    /// It is done.
    Done(Outcome),
    /// It goes on later.
    Back { at: Moment, why: String, counts: bool },
}

impl Ending {
    fn of(result: Result<Outcome, Halt>, told: Option<Told>, stage: Stage, tries: Tries, now: Moment) -> Self {
        match (result, told) {
            (Ok(outcome), _) => Self::Done(outcome),
            (Err(Halt::LeaseLost), _) | (Err(_), Some(Told::LeaseLost)) => Self::Elsewhere,
            // Whatever the run stumbled over on its way out, the person's wish is why it ended.
            (Err(_), Some(Told::ByPerson)) => Self::Done(Outcome::Cancelled),
            (Err(Halt::Cancelled), None) => {
                Self::Back { at: now, why: "this process was told to stop".to_owned(), counts: false }
            }
            (Err(Halt::Later { at, why }), None) if tries.made < i64::from(tries.most) => {
                Self::Back { at: at.max(now + pause_after(tries.made)), why, counts: true }
            }
            (Err(Halt::Later { why, .. }), None) => {
                let message = format!(
                    "tried {} times, and the last time {why}; when that is mended, `patchwright jobs retry` queues it again",
                    tries.made
                );
                Self::Done(Outcome::Failed { stage, message })
            }
            (Err(Halt::Broken { message }), None) => Self::Done(Outcome::Failed { stage, message }),
        }
    }
}

/// The least pause after so many runs: after the first one as long as was asked for (30 seconds where nobody asked), then 2
/// minutes, 8 minutes, half an hour. All tries of a job together must outlast an ordinary outage of a forge.
fn pause_after(runs: i64) -> TimeDelta {
    match u32::try_from(runs.saturating_sub(1).clamp(0, 3)).unwrap_or_default() {
        0 => TimeDelta::zero(),
        earlier => TimeDelta::seconds(30 * 4_i64.pow(earlier)),
    }
}

/// Writes down how a run ended.
async fn settle(desk: &Desk, result: Result<Outcome, Halt>, told: Option<Told>) {
    let stage = match desk.seams.store.job(desk.lease.job).await {
        Ok(job) => job.stage.unwrap_or(Stage::Triage),
        Err(error) => {
            tracing::warn!(job = desk.lease.job.0, %error, "the stage of the run could not be read");
            Stage::Triage
        }
    };
    let tries = Tries { made: desk.job.runs, most: desk.seams.config.worker.max_runs };
    let written = match Ending::of(result, told, stage, tries, clock::now()) {
        Ending::Elsewhere => {
            tracing::warn!(job = desk.lease.job.0, "the lease was lost; another worker has the job");
            return;
        }
        Ending::Done(outcome) => finish(desk, outcome).await,
        Ending::Back { at, why, counts } => hand_back(desk, stage, &why, at, counts).await,
    };
    if let Err(error) = written {
        // The lease runs out, and the job is taken up again from its last saved point.
        tracing::error!(job = desk.lease.job.0, %error, "the end of the run could not be written down");
    }
}

async fn finish(desk: &Desk, outcome: Outcome) -> Result<(), StoreError> {
    let outcome = desk.seams.redactor.data(&outcome).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    desk.seams.store.finish(&desk.lease, &outcome).await?;
    let (job, name) = (desk.lease.job.0, outcome.get().name());
    match outcome.get() {
        // Somebody has to look; the reason may quote what a program printed, so it stays out of the log.
        Outcome::Failed { .. } => {
            tracing::warn!(job, outcome = name, "run ends; `patchwright jobs show {job}` says what is to be mended");
        }
        _ => tracing::info!(job, outcome = name, "run ends"),
    }
    Ok(())
}

async fn hand_back(desk: &Desk, stage: Stage, why: &str, at: Moment, counts: bool) -> Result<(), StoreError> {
    let text = format!("{why}; the job goes on at {}", at.format("%Y-%m-%d %H:%M:%S UTC"));
    desk.journal.problem(stage, &text).await?;
    desk.seams.store.hand_back(&desk.lease, at, counts).await?;
    tracing::info!(job = desk.lease.job.0, "run handed back");
    Ok(())
}

async fn remove_workspace(seams: &Seams, name: &str) {
    let folder = seams.config.data_dir.work().join(name);
    let removed = tokio::task::spawn_blocking(move || workspace::remove_tree(&folder)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(name, %error, "the workspace could not be removed");
    }
}

/// Removes at the start, and then again and again, what crashes left: a run that was cut off keeps its workspace until its
/// lease has run out, which a look at the start alone would not live to see.
async fn keep_sweeping(seams: Arc<Seams>) {
    loop {
        sweep(&seams).await;
        tokio::time::sleep(seams.config.worker.lease.0).await;
    }
}

/// Removes the workspaces of runs that a crash cut off.
async fn sweep(seams: &Seams) {
    if seams.config.worker.keep_workspaces {
        return;
    }
    let work = seams.config.data_dir.work();
    for entry in std::fs::read_dir(&work).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Some((job, fence)) = workspace::run_of_folder(name) else { continue };
        let in_use = match seams.store.job(job).await {
            Ok(job) => job.state == crate::job::State::Running && job.fence == fence,
            Err(StoreError::NoSuchJob(_)) => false,
            Err(_) => true,
        };
        if !in_use {
            remove_workspace(seams, name).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Tries = Tries { made: 1, most: 3 };
    const LAST: Tries = Tries { made: 3, most: 3 };

    fn ending(halt: Halt, told: Option<Told>, tries: Tries) -> Ending {
        Ending::of(Err(halt), told, Stage::Context, tries, Moment::UNIX_EPOCH)
    }

    fn later(seconds: i64) -> Halt {
        Halt::Later { at: Moment::UNIX_EPOCH + TimeDelta::seconds(seconds), why: "no answer".into() }
    }

    #[test]
    fn a_job_that_a_person_stopped_is_cancelled_whatever_its_run_stumbled_over() {
        for halt in [Halt::Cancelled, later(0), Halt::broken("the disk is full")] {
            assert_eq!(ending(halt, Some(Told::ByPerson), LAST), Ending::Done(Outcome::Cancelled));
        }
    }

    #[test]
    fn a_worker_that_lost_its_lease_writes_nothing() {
        for halt in [Halt::Cancelled, later(0), Halt::broken("the disk is full")] {
            assert_eq!(ending(halt, Some(Told::LeaseLost), FIRST), Ending::Elsewhere);
        }
        assert_eq!(ending(Halt::LeaseLost, None, FIRST), Ending::Elsewhere);
    }

    #[test]
    fn a_shutdown_does_not_count_as_a_try() {
        assert!(matches!(ending(Halt::Cancelled, None, LAST), Ending::Back { counts: false, .. }));
    }

    #[test]
    fn the_pauses_grow_and_never_cut_a_wait_that_was_asked_for() {
        let seconds = |made, asked| match ending(later(asked), None, Tries { made, most: 9 }) {
            Ending::Back { at, counts: true, .. } => at.timestamp(),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3, 4, 8].map(|made| seconds(made, 30)), [30, 120, 480, 1920, 1920]);
        assert_eq!([1, 8].map(|made| seconds(made, 3_600)), [3_600, 3_600]);
        assert_eq!(seconds(1, 1), 1, "a rate limit that ends in a second is not waited out for longer");
    }

    #[test]
    fn the_last_try_ends_the_job_with_the_reason() {
        let Ending::Done(outcome) = ending(later(0), None, LAST) else { panic!("not done") };
        assert!(outcome.to_string().contains("tried 3 times, and the last time no answer"), "{outcome}");
    }
}
