//! Every change of a job's state, each one statement.
//!
//! Invariant: no other file writes `jobs.state`; the caller holds the transaction and has checked that it may.

use sqlx::SqliteConnection;

use super::{history, rows};
use crate::alert::Alert;
use crate::clock::{self, Moment};
use crate::job::{EventKind, Job, JobId, Lease, Stage};
use crate::outcome::Outcome;
use crate::store::{Claim, StoreError};

/// A new job, queued.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    alert: &Alert,
    repository: &str,
    epoch: i64,
) -> Result<JobId, StoreError> {
    let id = sqlx::query_scalar(
        "INSERT INTO jobs (source, project, issue, epoch, repository, alert, run_after, created_at, queued_at)
         SELECT ?, ?, ?, ?, ?, ?, now, now, now FROM clock RETURNING id",
    )
    .bind(alert.source.as_str())
    .bind(project_of(alert))
    .bind(alert.issue.as_str())
    .bind(epoch)
    .bind(repository)
    .bind(rows::to_json(alert)?)
    .fetch_one(connection)
    .await?;
    Ok(JobId(id))
}

/// Notes what the alert of a job that waits or runs is known to be by now. The job's state stays as it is.
pub(super) async fn learn(connection: &mut SqliteConnection, job: JobId, alert: &Alert) -> Result<(), StoreError> {
    sqlx::query("UPDATE jobs SET alert = ? WHERE id = ?")
        .bind(rows::to_json(alert)?)
        .bind(job.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Done → queued, because of a new alert, with which the job starts from the beginning.
pub(super) async fn wake(
    connection: &mut SqliteConnection,
    job: JobId,
    alert: &Alert,
    repository: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE jobs SET alert = ?, repository = ? WHERE id = ?")
        .bind(rows::to_json(alert)?)
        .bind(repository)
        .bind(job.0)
        .execute(&mut *connection)
        .await?;
    forget_saved(connection, job).await?;
    queue_again(connection, job).await
}

/// Done → queued, with all its runs before it again.
pub(super) async fn queue_again(connection: &mut SqliteConnection, job: JobId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET state = 'queued', stage = NULL, runs = 0, cancel_requested = 0,
                run_after = (SELECT now FROM clock), queued_at = (SELECT now FROM clock), outcome = NULL, finished_at = NULL
         WHERE id = ? AND state = 'done'",
    )
    .bind(job.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Queued → running, under a new lease, in the repository's lowest free slot.
///
/// One that cannot be read comes back as [`StoreError::Corrupt`], and is running all the same.
///
/// With fewer than n running jobs the lowest free slot is below n, so the unique index on slots holds a repository's
/// limit even against a claim that would count wrongly.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    job: JobId,
    claim: &Claim,
) -> Result<Option<(Job, Lease)>, StoreError> {
    let row = sqlx::query(
        "UPDATE jobs SET state = 'running', runs = runs + 1, fence = fence + 1,
                lease_owner = ?2, lease_until = (SELECT now FROM clock) + ?3,
                slot = (SELECT min(free) FROM (
                    SELECT 0 AS free UNION ALL
                    SELECT r.slot + 1 FROM jobs AS r WHERE r.state = 'running' AND r.repository = jobs.repository
                ) WHERE free NOT IN (
                    SELECT r.slot FROM jobs AS r WHERE r.state = 'running' AND r.repository = jobs.repository
                ))
         WHERE id = ?1 AND state = 'queued' RETURNING *",
    )
    .bind(job.0)
    .bind(claim.owner.as_str())
    .bind(rows::millis(claim.lease))
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let job = rows::job(&row)?;
    let lease = Lease { job: job.id, fence: job.fence, owner: claim.owner.clone() };
    Ok(Some((job, lease)))
}

/// Running → queued. Where `at` is `None`, the job keeps its place.
pub(super) async fn release(
    connection: &mut SqliteConnection,
    job: JobId,
    at: Option<Moment>,
    counts: bool,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET state = 'queued', lease_owner = NULL, lease_until = NULL, slot = NULL,
                run_after = coalesce(?2, run_after), runs = CASE WHEN ?3 THEN runs ELSE max(runs - 1, 0) END
         WHERE id = ?1 AND state = 'running'",
    )
    .bind(job.0)
    .bind(at.map(clock::to_millis))
    .bind(counts)
    .execute(connection)
    .await?;
    Ok(())
}

/// Queued or running → done; the outcome's sentence becomes the last line of the history.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    job: JobId,
    stage: Stage,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET state = 'done', outcome = ?2, finished_at = (SELECT now FROM clock),
                lease_owner = NULL, lease_until = NULL, slot = NULL
         WHERE id = ?1 AND state IN ('queued', 'running')",
    )
    .bind(job.0)
    .bind(rows::to_json(outcome)?)
    .execute(&mut *connection)
    .await?;
    history::append(connection, job, stage, EventKind::Outcome, &outcome.to_string()).await
}

/// Drops what earlier runs of a job have saved. Pull requests are not forgotten.
pub(super) async fn forget_saved(connection: &mut SqliteConnection, job: JobId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM saved_points WHERE job = ?").bind(job.0).execute(connection).await?;
    Ok(())
}

/// The project as job keys name it.
pub(super) fn project_of(alert: &Alert) -> String {
    format!("{}/{}", alert.org, alert.project)
}
