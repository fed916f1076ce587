//! Rows of the database as the types of the program.
//!
//! Invariant: what cannot be read is an error that names table row and column, and never shows what is stored there.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock;
use crate::job::{Attempt, Job, JobEvent, JobId, JobKey, Stage};
use crate::store::{KnownPullRequest, StoreError};

/// A row of `jobs`.
pub(super) fn job(row: &SqliteRow) -> Result<Job, StoreError> {
    Ok(Job {
        id: JobId(row.try_get("id")?),
        key: JobKey {
            source: row.try_get("source")?,
            project: row.try_get("project")?,
            issue: row.try_get("issue")?,
            epoch: row.try_get("epoch")?,
        },
        alert: json(row, "alert")?,
        state: named(row, "state")?,
        stage: stage(row)?,
        runs: row.try_get("runs")?,
        fence: row.try_get("fence")?,
        cancel_requested: row.try_get("cancel_requested")?,
        run_after: clock::from_millis(row.try_get("run_after")?),
        created_at: clock::from_millis(row.try_get("created_at")?),
        queued_at: clock::from_millis(row.try_get("queued_at")?),
        finished_at: row.try_get::<Option<i64>, _>("finished_at")?.map(clock::from_millis),
        outcome: optional_json(row, "outcome")?,
    })
}

/// A row of `job_events`.
pub(super) fn event(row: &SqliteRow) -> Result<JobEvent, StoreError> {
    Ok(JobEvent {
        seq: row.try_get("seq")?,
        at: clock::from_millis(row.try_get("at")?),
        stage: named(row, "stage")?,
        kind: named(row, "kind")?,
        text: row.try_get("text")?,
    })
}

/// A row of `attempts`.
pub(super) fn attempt(row: &SqliteRow) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        number: row.try_get("number")?,
        agent: row.try_get("agent")?,
        started_at: clock::from_millis(row.try_get("started_at")?),
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(clock::from_millis),
        result: row.try_get("result")?,
    })
}

/// A row of `pull_requests`.
pub(super) fn pull_request(row: &SqliteRow) -> Result<KnownPullRequest, StoreError> {
    let number: i64 = row.try_get("number")?;
    Ok(KnownPullRequest {
        job: JobId(row.try_get("job")?),
        repository: row.try_get("repository")?,
        branch: row.try_get("branch")?,
        number: u64::try_from(number).map_err(|_| unreadable(row, "number", "a negative number"))?,
        url: row.try_get("url")?,
        draft: row.try_get("draft")?,
    })
}

/// The column `stage` of a row of `jobs`; `None` until the job has entered any. The name of a stage of another version is
/// only a label that is not known here, and no reason not to go on.
pub(super) fn stage(row: &SqliteRow) -> Result<Option<Stage>, StoreError> {
    Ok(row.try_get::<Option<&str>, _>("stage")?.and_then(|name| name.parse().ok()))
}

/// As [`stage`], for what needs one: the first one where none is known.
pub(super) fn stage_or_first(row: &SqliteRow) -> Result<Stage, StoreError> {
    Ok(stage(row)?.unwrap_or(Stage::Triage))
}

/// A column that holds one of our own names.
pub(super) fn named<T: FromStr>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    row.try_get::<&str, _>(column)?
        .parse()
        .map_err(|_| unreadable(row, column, "a name that this version does not know"))
}

/// A column that holds JSON.
pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    optional_json(row, column)?.ok_or_else(|| unreadable(row, column, "nothing"))
}

/// A column that may hold JSON.
pub(super) fn optional_json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<Option<T>, StoreError> {
    let Some(text) = row.try_get::<Option<&str>, _>(column)? else { return Ok(None) };
    // The parser's message would quote the text.
    serde_json::from_str(text).map(Some).map_err(|_| unreadable(row, column, "JSON of another shape"))
}

/// The JSON to be stored for some data.
pub(super) fn to_json<T: Serialize + ?Sized>(data: &T) -> Result<String, StoreError> {
    serde_json::to_string(data).map_err(|error| StoreError::Unavailable(Box::new(error)))
}

/// A length of time as milliseconds, at most a thousand years so that a sum with the present time is never too large.
pub(super) fn millis(length: Duration) -> i64 {
    const THOUSAND_YEARS: i64 = 1_000 * 366 * 86_400_000;
    i64::try_from(length.as_millis()).unwrap_or(THOUSAND_YEARS).min(THOUSAND_YEARS)
}

/// The error for a column that does not hold what this version expects.
pub(super) fn unreadable(row: &SqliteRow, column: &str, found: &str) -> StoreError {
    let place = ["id", "job"]
        .into_iter()
        .find_map(|key| {
            row.try_get::<i64, _>(key).ok().map(|number| format!("`{column}` of the row with {key} {number}"))
        })
        .unwrap_or_else(|| format!("`{column}`"));
    StoreError::Corrupt(format!("{place} holds {found}; use the version of Patchwright that wrote it, or a backup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_without_end_can_still_be_added_to_the_present() {
        let now = clock::to_millis(clock::now());
        assert!(now.checked_add(millis(Duration::MAX)).is_some());
        assert_eq!(millis(Duration::from_micros(1_999)), 1);
    }
}
