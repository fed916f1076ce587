//! Jobs as people see them and steer them.
//!
//! Invariant: of the jobs of one issue only the newest is ever queued again, so its state is the issue's state.

use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, rows, transitions};
use crate::job::{Job, JobId, Stage, State};
use crate::outcome::Outcome;
use crate::store::{JobFilter, KnownPullRequest, StoreError};

/// One job.
pub(super) async fn job(store: &SqliteStore, job: JobId) -> Result<Job, StoreError> {
    let row = sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(job.0).fetch_optional(&store.readers).await?;
    rows::job(&row.ok_or(StoreError::NoSuchJob(job))?)
}

/// The newest jobs.
pub(super) async fn jobs(store: &SqliteStore, filter: JobFilter) -> Result<Vec<Result<Job, StoreError>>, StoreError> {
    let rows = sqlx::query("SELECT * FROM jobs WHERE ?1 IS NULL OR state = ?1 ORDER BY id DESC LIMIT ?2")
        .bind(filter.state.map(State::name))
        .bind(i64::from(filter.limit))
        .fetch_all(&store.readers)
        .await?;
    Ok(rows.iter().map(rows::job).collect())
}

/// A piece of work that was saved under a name.
pub(super) async fn saved(store: &SqliteStore, job: JobId, name: &str) -> Result<Option<Value>, StoreError> {
    let row = sqlx::query("SELECT job, value FROM saved_points WHERE job = ? AND name = ?")
        .bind(job.0)
        .bind(name)
        .fetch_optional(&store.readers)
        .await?;
    row.map(|row| rows::json(&row, "value")).transpose()
}

/// The pull requests of all jobs of an issue, newest first.
pub(super) async fn pull_requests(
    store: &SqliteStore,
    source: &str,
    project: &str,
    issue: &str,
) -> Result<Vec<KnownPullRequest>, StoreError> {
    let rows = sqlx::query(
        "SELECT pull_requests.* FROM pull_requests JOIN jobs ON jobs.id = pull_requests.job
         WHERE jobs.source = ? AND jobs.project = ? AND jobs.issue = ? ORDER BY pull_requests.id DESC",
    )
    .bind(source)
    .bind(project)
    .bind(issue)
    .fetch_all(&store.readers)
    .await?;
    rows.iter().map(rows::pull_request).collect()
}

/// Asks for a job to be stopped; answers the state that it is in then.
pub(super) async fn cancel(store: &SqliteStore, job: JobId) -> Result<State, StoreError> {
    store
        .write(move |connection| {
            Box::pin(async move {
                let (state, stage) = standing(connection, job).await?;
                match state {
                    State::Queued => {
                        transitions::end(connection, job, stage, &Outcome::Cancelled).await?;
                        Ok(State::Done)
                    }
                    // Its worker is gone, and perhaps nobody else is there to take the job back.
                    State::Running if is_abandoned(connection, job).await? => {
                        transitions::end(connection, job, stage, &Outcome::Cancelled).await?;
                        Ok(State::Done)
                    }
                    State::Running => {
                        sqlx::query("UPDATE jobs SET cancel_requested = 1 WHERE id = ?")
                            .bind(job.0)
                            .execute(connection)
                            .await?;
                        Ok(State::Running)
                    }
                    State::Done => {
                        Err(StoreError::NotNow { job, state, advice: "it has ended, there is nothing to stop" })
                    }
                }
            })
        })
        .await
}

/// Queues a job again that is done.
pub(super) async fn retry(store: &SqliteStore, job: JobId, fresh: bool) -> Result<(), StoreError> {
    store
        .write(move |connection| {
            Box::pin(async move {
                let advice = match standing(connection, job).await?.0 {
                    State::Queued => Some((State::Queued, "it waits for a worker already")),
                    State::Running => Some((State::Running, "cancel it first, or wait for its end")),
                    State::Done if is_superseded(connection, job).await? => {
                        Some((State::Done, "the issue came back since and has a newer job: retry that one"))
                    }
                    State::Done => None,
                };
                if let Some((state, advice)) = advice {
                    return Err(StoreError::NotNow { job, state, advice });
                }
                if fresh {
                    transitions::forget_saved(connection, job).await?;
                }
                transitions::queue_again(connection, job).await
            })
        })
        .await
}

/// The state of a job, and the stage it is in; the first one until it has entered any.
async fn standing(connection: &mut SqliteConnection, job: JobId) -> Result<(State, Stage), StoreError> {
    let row = sqlx::query("SELECT id, state, stage FROM jobs WHERE id = ?")
        .bind(job.0)
        .fetch_optional(connection)
        .await?
        .ok_or(StoreError::NoSuchJob(job))?;
    Ok((rows::named(&row, "state")?, rows::stage_or_first(&row)?))
}

/// What tells this database from every other one.
pub(super) async fn identity(store: &SqliteStore) -> Result<String, StoreError> {
    Ok(sqlx::query_scalar("SELECT id FROM identity").fetch_one(&store.readers).await?)
}

/// Whether the lease on a running job has run out.
async fn is_abandoned(connection: &mut SqliteConnection, job: JobId) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT lease_until <= (SELECT now FROM clock) AS abandoned FROM jobs WHERE id = ?")
        .bind(job.0)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("abandoned")?)
}

/// Whether the same issue has a job in a later epoch.
async fn is_superseded(connection: &mut SqliteConnection, job: JobId) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT EXISTS (
             SELECT 1 FROM jobs AS mine
             JOIN jobs AS later USING (source, project, issue)
             WHERE mine.id = ? AND later.epoch > mine.epoch
         ) AS superseded",
    )
    .bind(job.0)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("superseded")?)
}
