//! The attempts of a job: each call of the agent.
//!
//! Invariant: an attempt is on disk before the agent starts, and numbers are never given twice.

use sqlx::Row;

use super::{SqliteStore, rows};
use crate::job::{Attempt, JobId, Lease};
use crate::redact::Redacted;
use crate::store::StoreError;

/// Notes that the agent is about to be started.
pub(super) async fn begin(store: &SqliteStore, lease: &Lease, agent: &str) -> Result<i64, StoreError> {
    let (job, fence, agent) = (lease.job, lease.fence, agent.to_owned());
    store
        .write_under(lease, move |connection, _| {
            Box::pin(async move {
                let row = sqlx::query(
                    "INSERT INTO attempts (job, number, fence, agent, started_at)
                     SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, (SELECT now FROM clock) FROM attempts WHERE job = ?1
                     RETURNING number",
                )
                .bind(job.0)
                .bind(fence)
                .bind(agent)
                .fetch_one(connection)
                .await?;
                Ok(row.try_get("number")?)
            })
        })
        .await
}

/// Notes how an attempt came out.
pub(super) async fn end(
    store: &SqliteStore,
    lease: &Lease,
    number: i64,
    result: &Redacted<String>,
) -> Result<(), StoreError> {
    let (job, result) = (lease.job, result.as_str().to_owned());
    store
        .write_under(lease, move |connection, _| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE attempts SET ended_at = (SELECT now FROM clock), result = ? WHERE job = ? AND number = ?",
                )
                .bind(result)
                .bind(job.0)
                .bind(number)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// The attempts of a job, oldest first.
pub(super) async fn of_job(store: &SqliteStore, job: JobId) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query("SELECT * FROM attempts WHERE job = ? ORDER BY number")
        .bind(job.0)
        .fetch_all(&store.readers)
        .await?;
    rows.iter().map(rows::attempt).collect()
}
