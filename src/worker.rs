//! Takes jobs and runs the pipeline on them, under a lease that a heartbeat keeps alive.
//!
//! Invariant: when the lease is lost, the job cancelled or the service told to stop, the run's whole process tree ends
//! before this module lets go of it.

mod ending;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Moment};
use crate::job::{Job, JobId, Lease, Stage};
use crate::outcome::Outcome;
use crate::pipeline::journal::Journal;
use crate::pipeline::{self, Desk, Halt, Seams};
use crate::store::{Claim, StoreError};
use crate::workspace;
use ending::{Ending, Told, Tries};

/// How often the queue is looked at when nobody says that there is something new.
const POLL: Duration = Duration::from_secs(1);

/// How long after a signal that has ended one of our programs we may hear that it was meant for us all.
const SAME_SIGNAL: Duration = Duration::from_secs(2);

/// How this process is told to end.
#[derive(Clone, Debug)]
struct Stop {
    /// From now on nothing new is begun.
    asked: CancellationToken,
    /// What still runs is handed back.
    now: CancellationToken,
}

/// The runs of this process that hold their leases, as far as it knows.
#[derive(Clone, Debug, Default)]
struct Live(Arc<Mutex<HashSet<(JobId, i64)>>>);

impl Live {
    fn runs(&self) -> MutexGuard<'_, HashSet<(JobId, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs workers until `shutdown`, then lets running jobs end within the configured grace and hands back the rest.
///
/// Returns earlier where a worker has ended by itself, which none should: better no service than one that seems to work.
pub async fn run(seams: Arc<Seams>, wake: Arc<Notify>, shutdown: CancellationToken) {
    let stop = Stop { asked: shutdown.child_token(), now: CancellationToken::new() };
    let live = Live::default();
    let sweeper = tokio::spawn(keep_sweeping(Arc::clone(&seams)));
    let mut workers = JoinSet::new();
    for number in 0..seams.config.worker.count {
        let (seams, wake) = (Arc::clone(&seams), Arc::clone(&wake));
        let (stop, live) = (stop.clone(), live.clone());
        workers.spawn(async move { work(&seams, &wake, number, &stop, &live).await });
    }
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = workers.join_next() => {}
    }
    if !shutdown.is_cancelled() {
        tracing::error!("a worker ended unexpectedly; the others hand back their jobs");
        stop.asked.cancel();
        stop.now.cancel();
    }
    let grace = seams.config.worker.shutdown_grace.0;
    let all_ended = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        tracing::info!("jobs are still running after the grace of {:?}; handing them back", grace);
        stop.now.cancel();
        while workers.join_next().await.is_some() {}
    }
    sweeper.abort();
}

async fn work(seams: &Arc<Seams>, wake: &Notify, number: usize, stop: &Stop, live: &Live) {
    let terms = claim_terms(seams, &format!("{}-{number}", owner_name()));
    while !stop.asked.is_cancelled() {
        // Listening begins before the look, so that a job queued in between is not slept over.
        let woken = wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let alive = live.runs().iter().copied().collect();
        match seams.store.claim(&Claim { alive, ..terms.clone() }).await {
            Ok(Some((job, lease))) => {
                run_under(seams, job, lease, stop, live, &CancellationToken::new()).await;
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
            () = stop.asked.cancelled() => {}
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
        alive: Vec::new(),
    }
}

/// A name that no other process has at the same time.
#[must_use]
pub fn owner_name() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    format!("{host}-{}-{:x}", std::process::id(), clock::to_millis(clock::now()))
}

/// Runs one claimed job to its end and settles it. `stop` hands it back; `asked` ends it as cancelled, as does a wish to
/// that effect in the store.
pub async fn run_claimed(
    seams: &Arc<Seams>,
    job: Job,
    lease: Lease,
    stop: &CancellationToken,
    asked: &CancellationToken,
) {
    let stop = Stop { asked: stop.clone(), now: stop.clone() };
    run_under(seams, job, lease, &stop, &Live::default(), asked).await;
}

async fn run_under(seams: &Arc<Seams>, job: Job, lease: Lease, stop: &Stop, live: &Live, asked: &CancellationToken) {
    let number = lease.job.0;
    tracing::info!(job = number, run = job.runs, issue = %job.alert.issue_name().escape_debug(), "run begins");
    let (cancel, stopping) = (stop.now.child_token(), stop.asked.clone());
    let journal = Journal::new(Arc::clone(&seams.store), lease.clone(), Arc::clone(&seams.redactor));
    let desk = Desk { seams: Arc::clone(seams), job, lease: lease.clone(), journal, cancel: cancel.clone(), stopping };
    live.runs().insert((lease.job, lease.fence));

    let (mut told, mut heartbeat) = (None, Box::pin(heartbeat(seams, &lease, asked)));
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
                // From now on anybody may take the job, our own workers too.
                live.runs().remove(&(lease.job, lease.fence));
                cancel.cancel();
            }
        }
    };
    // What a panic says may quote anything, so only the fact of it is told.
    let result = result.unwrap_or_else(|_panic| {
        tracing::error!(job = number, "a stage panicked");
        Err(Halt::Broken { message: "a stage ended unexpectedly; the service's log has the details".to_owned() })
    });
    if told.is_none() && is_by_shutdown(&result, stop).await {
        told = Some(Told::ByShutdown);
    }
    settle(&desk, result, told).await;
    live.runs().remove(&(lease.job, lease.fence));
    if !seams.config.worker.keep_workspaces {
        remove_workspace(seams, &workspace::folder_name(lease.job, lease.fence)).await;
    }
}

/// Whether a run broke off because this process is told to end. What our programs were told may have come first, and where a
/// helper of `git` was told before `git` itself, `git` reports a failure like any other.
async fn is_by_shutdown(result: &Result<Outcome, Halt>, stop: &Stop) -> bool {
    match result {
        Err(Halt::Cancelled) => tokio::time::timeout(SAME_SIGNAL, stop.asked.cancelled()).await.is_ok(),
        Err(_) => tokio::time::timeout(SAME_SIGNAL / 4, stop.asked.cancelled()).await.is_ok(),
        Ok(_) => stop.asked.is_cancelled(),
    }
}

/// Keeps the lease alive, also while a run that a person stopped winds down; returns when the lease is lost, or nobody says
/// that it is not.
async fn heartbeat(seams: &Seams, lease: &Lease, asked: &CancellationToken) {
    let length = seams.config.worker.lease.0;
    // Stop well before somebody else may start: a renewal that hangs must not keep us going.
    let margin = length / 4;
    let mut holds_until = tokio::time::Instant::now() + length - margin;
    loop {
        tokio::time::sleep_until(holds_until.min(tokio::time::Instant::now() + length / 5)).await;
        let sent = tokio::time::Instant::now();
        // This process may have been frozen beyond that. As long as nobody has taken the job it is still ours, so the store
        // is asked in any case.
        let last = sent >= holds_until;
        let patience = holds_until.max(sent + margin / 2);
        match tokio::time::timeout_at(patience, seams.store.renew(lease, length)).await {
            Ok(Ok(stop_wanted)) => {
                holds_until = sent + length - margin;
                if stop_wanted {
                    asked.cancel();
                }
                continue;
            }
            Ok(Err(StoreError::LeaseLost(_))) => return,
            Ok(Err(error)) => tracing::warn!(job = lease.job.0, %error, "the lease could not be renewed"),
            Err(_) => tracing::warn!(job = lease.job.0, "the database did not renew the lease in time"),
        }
        if last {
            return;
        }
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
    let (job, most) = (&desk.job, desk.seams.config.worker.max_runs);
    let tries = Tries { made: job.runs, most, since: job.queued_at };
    let written = match Ending::of(result, told, stage, tries, clock::now()) {
        Ending::Elsewhere => {
            tracing::warn!(
                job = desk.lease.job.0,
                "the lease was lost or not renewed in time; the job is left to whoever takes it"
            );
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
