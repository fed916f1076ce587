//! What the holder of a lease may write.
//!
//! Invariant: each of these fails with `LeaseLost`, and changes nothing, once a later claim has taken the job.

use std::time::Duration;

use serde_json::Value;
use sqlx::SqliteConnection;

use super::{SqliteStore, history, rows, transitions};
use crate::alert::Alert;
use crate::clock::Moment;
use crate::job::{EventKind, JobId, Lease, Stage};
use crate::outcome::Outcome;
use crate::redact::Redacted;
use crate::store::{KnownPullRequest, NewEvent, StoreError};

/// Prolongs the lease, counted from now; `true` where a person wants the job stopped.
pub(super) async fn renew(store: &SqliteStore, lease: &Lease, length: Duration) -> Result<bool, StoreError> {
    let job = lease.job;
    store
        .write_under(lease, move |connection, held| {
            Box::pin(async move {
                sqlx::query("UPDATE jobs SET lease_until = (SELECT now FROM clock) + ? WHERE id = ?")
                    .bind(rows::millis(length))
                    .bind(job.0)
                    .execute(connection)
                    .await?;
                Ok(held.cancel_requested)
            })
        })
        .await
}

/// Fails unless the lease holds for longer than `margin` from now.
pub(super) async fn check(store: &SqliteStore, lease: &Lease, margin: Duration) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT 1 FROM jobs WHERE id = ? AND fence = ? AND lease_owner = ? AND state = 'running'
                AND lease_until > (SELECT now FROM clock) + ?",
    )
    .bind(lease.job.0)
    .bind(lease.fence)
    .bind(lease.owner.as_str())
    .bind(rows::millis(margin))
    .fetch_optional(&store.readers)
    .await?
    .map(|_| ())
    .ok_or(StoreError::LeaseLost(lease.job))
}

/// Notes the stage.
pub(super) async fn enter(store: &SqliteStore, lease: &Lease, stage: Stage) -> Result<(), StoreError> {
    let job = lease.job;
    store
        .write_under(lease, move |connection, _| {
            Box::pin(async move {
                sqlx::query("UPDATE jobs SET stage = ? WHERE id = ?")
                    .bind(stage.name())
                    .bind(job.0)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
}

/// Appends to the history: all lines or none.
pub(super) async fn record(store: &SqliteStore, lease: &Lease, events: &[NewEvent]) -> Result<(), StoreError> {
    let job = lease.job;
    let events = events.to_vec();
    store
        .write_under(lease, move |connection, _| {
            Box::pin(async move {
                for event in &events {
                    history::append(connection, job, event.stage, event.kind, event.text.as_str()).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Keeps a named piece of work in the place of an earlier one of that name.
pub(super) async fn save(
    store: &SqliteStore,
    lease: &Lease,
    name: &str,
    value: &Redacted<Value>,
) -> Result<(), StoreError> {
    let job = lease.job;
    let name = name.to_owned();
    let value = rows::to_json(value.get())?;
    store
        .write_under(lease, move |connection, _| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO saved_points (job, name, value) VALUES (?, ?, ?)
                     ON CONFLICT (job, name) DO UPDATE SET value = excluded.value",
                )
                .bind(job.0)
                .bind(name)
                .bind(value)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// Remembers a pull request of the lease's job; the same address twice is one pull request.
pub(super) async fn save_pull_request(
    store: &SqliteStore,
    lease: &Lease,
    pull_request: &KnownPullRequest,
) -> Result<(), StoreError> {
    let job = lease.job;
    let KnownPullRequest { job: _, repository, branch, number, url, draft } = pull_request.clone();
    let number = i64::try_from(number).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    store
        .write_under(lease, move |connection, _| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO pull_requests (job, repository, branch, number, url, draft, opened_at)
                     VALUES (?, ?, ?, ?, ?, ?, (SELECT now FROM clock))
                     ON CONFLICT (job, url) DO UPDATE SET repository = excluded.repository,
                         branch = excluded.branch, number = excluded.number, draft = excluded.draft",
                )
                .bind(job.0)
                .bind(repository)
                .bind(branch)
                .bind(number)
                .bind(url)
                .bind(draft)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// Ends the job; one that is to be ignored for what its alert says otherwise by now starts again instead.
pub(super) async fn finish(store: &SqliteStore, lease: &Lease, outcome: &Redacted<Outcome>) -> Result<(), StoreError> {
    let job = lease.job;
    let outcome = outcome.get().clone();
    store
        .write_under(lease, move |connection, held| {
            Box::pin(async move {
                if let Outcome::Ignored { why } = &outcome
                    && !held.cancel_requested
                    && !why.holds_for(&alert_of(connection, job).await?)
                {
                    let what = format!("{outcome}; but an alert that joined the job says otherwise: it starts again");
                    history::append(connection, job, held.stage, EventKind::Note, &what).await?;
                    return transitions::release(connection, job, None, true).await;
                }
                transitions::end(connection, job, held.stage, &outcome).await
            })
        })
        .await
}

async fn alert_of(connection: &mut SqliteConnection, job: JobId) -> Result<Alert, StoreError> {
    let row = sqlx::query("SELECT id, alert FROM jobs WHERE id = ?").bind(job.0).fetch_one(connection).await?;
    rows::json(&row, "alert")
}

/// Hands the job back to the queue; one that a person wants stopped ends instead.
pub(super) async fn hand_back(store: &SqliteStore, lease: &Lease, at: Moment, counts: bool) -> Result<(), StoreError> {
    let job = lease.job;
    store
        .write_under(lease, move |connection, held| {
            Box::pin(async move {
                if held.cancel_requested {
                    return transitions::end(connection, job, held.stage, &Outcome::Cancelled).await;
                }
                transitions::release(connection, job, Some(at), counts).await
            })
        })
        .await
}
