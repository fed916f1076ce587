//! Who works on what: the next job for a worker, and the jobs of workers that went silent.
//!
//! Invariant: a claim gives each job to one worker at a time, with a greater fence than any worker had before.

use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, history, rows, transitions};
use crate::job::{EventKind, Job, JobId, Lease, Stage};
use crate::outcome::{Opened, Outcome};
use crate::store::{Claim, KnownPullRequest, StoreError};

/// The next job that is due and whose repository has room.
pub(super) async fn claim(store: &SqliteStore, claim: &Claim) -> Result<Option<(Job, Lease)>, StoreError> {
    let claim = claim.clone();
    store
        .write(move |connection| {
            Box::pin(async move {
                take_back_expired(connection, &claim).await?;
                while let Some((job, runs)) = next_due(connection, claim.per_repository).await? {
                    if runs >= i64::from(claim.max_runs) {
                        give_up(connection, job, runs).await?;
                    } else if let Some(taken) = take(connection, job, &claim).await? {
                        return Ok(Some(taken));
                    }
                }
                Ok(None)
            })
        })
        .await
}

/// This very job, for a person who asked for it: now, and beside whatever else runs in its repository.
pub(super) async fn claim_job(
    store: &SqliteStore,
    job: JobId,
    claim: &Claim,
) -> Result<Option<(Job, Lease)>, StoreError> {
    let claim = claim.clone();
    store
        .write(move |connection| {
            Box::pin(async move {
                take_back_expired(connection, &claim).await?;
                take(connection, job, &claim).await
            })
        })
        .await
}

/// Takes a job that is queued. One that this version cannot read is ended instead, so that it does not stand in the way of
/// all others.
async fn take(
    connection: &mut SqliteConnection,
    job: JobId,
    claim: &Claim,
) -> Result<Option<(Job, Lease)>, StoreError> {
    match transitions::take(connection, job, claim).await {
        Err(StoreError::Corrupt(what)) => {
            let stage = stage_of(connection, job).await?;
            let message = format!("this version cannot read job {job}: {what}");
            transitions::end(connection, job, stage, &Outcome::Failed { stage, message }).await?;
            Ok(None)
        }
        taken => taken,
    }
}

/// Takes back the jobs whose leases have run out. Every claim does it, so that no worker has to be the one who does.
async fn take_back_expired(connection: &mut SqliteConnection, claim: &Claim) -> Result<(), StoreError> {
    let max_runs = claim.max_runs;
    let expired = sqlx::query(
        "SELECT id, fence, runs, cancel_requested, stage, lease_owner FROM jobs
         WHERE state = 'running' AND lease_until <= (SELECT now FROM clock) ORDER BY lease_until, id",
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in &expired {
        let job = JobId(row.try_get("id")?);
        if claim.alive.contains(&(job, row.try_get("fence")?)) {
            continue;
        }
        let runs: i64 = row.try_get("runs")?;
        let stage = rows::stage_or_first(row)?;
        if row.try_get("cancel_requested")? {
            transitions::end(connection, job, stage, &Outcome::Cancelled).await?;
            continue;
        }
        let owner: &str = row.try_get("lease_owner")?;
        let what = format!("worker {owner} went silent; its lease on run {runs} of at most {max_runs} has run out");
        history::append(connection, job, stage, EventKind::Problem, &what).await?;
        if runs < i64::from(max_runs) {
            transitions::release(connection, job, None, true).await?;
        } else {
            give_up(connection, job, runs).await?;
        }
    }
    Ok(())
}

/// The queued job that has waited longest among those that are due and whose repository has room, and its runs so far.
async fn next_due(
    connection: &mut SqliteConnection,
    per_repository: usize,
) -> Result<Option<(JobId, i64)>, StoreError> {
    // The list of full repositories is made once per claim, however many of their jobs stand before the first free one.
    let row = sqlx::query(
        "SELECT id, runs FROM jobs
         WHERE state = 'queued' AND run_after <= (SELECT now FROM clock) AND repository NOT IN (
             SELECT repository FROM jobs WHERE state = 'running' GROUP BY repository HAVING count(*) >= ?
         )
         ORDER BY run_after, id LIMIT 1",
    )
    .bind(i64::try_from(per_repository).unwrap_or(i64::MAX))
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok((JobId(row.try_get("id")?), row.try_get("runs")?))).transpose()
}

/// Ends a job that was taken up often enough. Where its pull requests are there, only the last steps were missing.
async fn give_up(connection: &mut SqliteConnection, job: JobId, runs: i64) -> Result<(), StoreError> {
    let stage = stage_of(connection, job).await?;
    let rows = sqlx::query("SELECT * FROM pull_requests WHERE job = ? ORDER BY id")
        .bind(job.0)
        .fetch_all(&mut *connection)
        .await?;
    let known = rows.iter().map(rows::pull_request).collect::<Result<Vec<_>, _>>()?;
    let opened = |known: KnownPullRequest| Opened { repository: known.repository, url: known.url, draft: known.draft };
    let pull_requests: Vec<Opened> = known.into_iter().map(opened).collect();
    let outcome = if pull_requests.is_empty() {
        let message = format!(
            "{runs} runs of this job did not come to an end, and no more are made; its history and the workers' logs say \
             why; `patchwright jobs retry {job}` queues it again"
        );
        Outcome::Failed { stage, message }
    } else {
        Outcome::Opened { pull_requests }
    };
    transitions::end(connection, job, stage, &outcome).await
}

async fn stage_of(connection: &mut SqliteConnection, job: JobId) -> Result<Stage, StoreError> {
    let row = sqlx::query("SELECT id, stage FROM jobs WHERE id = ?").bind(job.0).fetch_one(connection).await?;
    rows::stage_or_first(&row)
}
