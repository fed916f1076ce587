//! The history of a job, line by line.
//!
//! Invariant: the lines of a job are numbered from 1 without gaps, in the order in which they were committed.

use sqlx::SqliteConnection;

use super::{SqliteStore, rows};
use crate::job::{EventKind, JobEvent, JobId, Stage};
use crate::store::StoreError;

/// Appends a line to a job's history; the caller holds the transaction.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    job: JobId,
    stage: Stage,
    kind: EventKind,
    text: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO job_events (job, seq, at, stage, kind, text)
         SELECT ?1, coalesce(max(seq), 0) + 1, (SELECT now FROM clock), ?2, ?3, ?4 FROM job_events WHERE job = ?1",
    )
    .bind(job.0)
    .bind(stage.name())
    .bind(kind.name())
    .bind(text)
    .execute(connection)
    .await?;
    Ok(())
}

/// The lines after position `after`.
pub(super) async fn events(
    store: &SqliteStore,
    job: JobId,
    after: i64,
    limit: u32,
) -> Result<Vec<JobEvent>, StoreError> {
    let rows = sqlx::query("SELECT * FROM job_events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?")
        .bind(job.0)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&store.readers)
        .await?;
    rows.iter().map(rows::event).collect()
}
