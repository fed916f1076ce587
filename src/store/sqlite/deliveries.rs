//! Deliveries: kept as they came, and turned into work in the same transaction.
//!
//! Invariant: a delivery that was accepted is there with its outcome and its job, or it is not there at all.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, rows, transitions};
use crate::alert::{Alert, Reason};
use crate::clock;
use crate::job::{JobId, State};
use crate::outcome::{Ignored, Outcome};
use crate::store::{Accepted, Delivery, Intent, NewDelivery, StoreError};

/// A body as it is stored, and what it is known again by.
struct Packed {
    sha256: [u8; 32],
    zlib: Vec<u8>,
}

/// Keeps a delivery and does with it what is intended.
pub(super) async fn accept(
    store: &SqliteStore,
    mut delivery: NewDelivery,
    intent: Intent,
) -> Result<Accepted, StoreError> {
    let body = std::mem::take(&mut delivery.body);
    let packed = blocking(move || pack(&body)).await?;
    store
        .write(move |connection| {
            Box::pin(async move {
                if let Some(first) = first_that_counted(connection, &delivery.source, &packed).await? {
                    let outcome = Outcome::Ignored { why: Ignored::Duplicate { delivery: first } };
                    return Ok(Accepted { delivery: first, outcome });
                }
                let (outcome, regressed) = match intent {
                    Intent::Close(outcome) => (outcome, false),
                    Intent::Work { alert, repository, regression_window } => (
                        place(connection, &alert, &repository, regression_window).await?,
                        alert.reason == Reason::Regressed,
                    ),
                };
                let delivery = keep(connection, &delivery, &packed, &outcome, regressed).await?;
                Ok(Accepted { delivery, outcome })
            })
        })
        .await
}

/// One delivery.
pub(super) async fn delivery(store: &SqliteStore, id: i64) -> Result<Option<Delivery>, StoreError> {
    let row = sqlx::query("SELECT * FROM deliveries WHERE id = ?").bind(id).fetch_optional(&store.readers).await?;
    let Some(row) = row else { return Ok(None) };
    blocking(move || read(&row)).await.map(Some)
}

/// The deliveries of a job, oldest first.
pub(super) async fn of_job(store: &SqliteStore, job: JobId, newest: u32) -> Result<Vec<Delivery>, StoreError> {
    let rows = sqlx::query("SELECT * FROM deliveries WHERE job = ? ORDER BY id DESC LIMIT ?")
        .bind(job.0)
        .bind(i64::from(newest))
        .fetch_all(&store.readers)
        .await?;
    blocking(move || rows.iter().rev().map(read).collect()).await
}

/// How many deliveries a job has; their bodies are not read.
pub(super) async fn count(store: &SqliteStore, job: JobId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS many FROM deliveries WHERE job = ?")
        .bind(job.0)
        .fetch_one(&store.readers)
        .await?;
    Ok(row.try_get::<i64, _>("many")?.unsigned_abs())
}

/// The delivery of the same bytes that belongs to a job. One that was refused does not count: what it was refused for
/// may be configured by now.
async fn first_that_counted(
    connection: &mut SqliteConnection,
    source: &str,
    packed: &Packed,
) -> Result<Option<i64>, StoreError> {
    let first =
        sqlx::query_scalar("SELECT id FROM deliveries WHERE source = ? AND body_sha256 = ? AND job IS NOT NULL")
            .bind(source)
            .bind(packed.sha256.as_slice())
            .fetch_optional(connection)
            .await?;
    Ok(first)
}

/// Finds or makes the job for an alert, as [`crate::store::Store::accept`] describes.
async fn place(
    connection: &mut SqliteConnection,
    alert: &Alert,
    repository: &str,
    regression_window: Duration,
) -> Result<Outcome, StoreError> {
    let last = sqlx::query(
        "SELECT id, epoch, state, outcome, alert, (SELECT now FROM clock) - (
                    SELECT max(received_at) FROM deliveries WHERE deliveries.job = jobs.id AND regressed = 1
                ) AS since_regression
         FROM jobs WHERE source = ? AND project = ? AND issue = ? ORDER BY epoch DESC LIMIT 1",
    )
    .bind(alert.source.as_str())
    .bind(transitions::project_of(alert))
    .bind(alert.issue.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(last) = last else {
        return Ok(Outcome::Queued { job: transitions::create(connection, alert, repository, 0).await? });
    };
    let job = JobId(last.try_get("id")?);
    // What an older alert says that cannot be read is no reason to refuse a newer one.
    let known: Option<Alert> = rows::json(&last, "alert").ok();
    if rows::named::<State>(&last, "state")? != State::Done {
        if let Some(known) = known {
            transitions::learn(connection, job, &known.joined_by(alert)).await?;
        }
        return Ok(Outcome::Attached { job });
    }
    let was_ignored = matches!(rows::json(&last, "outcome")?, Outcome::Ignored { .. });
    if was_ignored || alert.reason == Reason::Requested {
        let alert = known.map_or_else(|| alert.clone(), |known| known.followed_by(alert));
        transitions::wake(connection, job, &alert, repository).await?;
        return Ok(Outcome::Queued { job });
    }
    let since_regression: Option<i64> = last.try_get("since_regression")?;
    // `>=`, so that a window of zero is no window even within the same millisecond.
    let is_another = since_regression.is_none_or(|since| since >= rows::millis(regression_window));
    if alert.reason == Reason::Regressed && is_another {
        let epoch = last.try_get::<i64, _>("epoch")?.saturating_add(1);
        return Ok(Outcome::Queued { job: transitions::create(connection, alert, repository, epoch).await? });
    }
    Ok(Outcome::Attached { job })
}

/// Writes the delivery down, in the place of one of the same bytes that was refused.
async fn keep(
    connection: &mut SqliteConnection,
    delivery: &NewDelivery,
    packed: &Packed,
    outcome: &Outcome,
    regressed: bool,
) -> Result<i64, StoreError> {
    let job = match outcome {
        Outcome::Queued { job } | Outcome::Attached { job } => Some(job.0),
        _ => None,
    };
    let id = sqlx::query_scalar(
        "INSERT INTO deliveries (source, resource, request_id, headers, body, body_sha256, verified_by,
                                 received_at, outcome, job, regressed)
         VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT now FROM clock), ?, ?, ?)
         ON CONFLICT (source, body_sha256) DO UPDATE SET
             resource = excluded.resource, request_id = excluded.request_id, headers = excluded.headers,
             verified_by = excluded.verified_by, received_at = excluded.received_at, outcome = excluded.outcome,
             job = excluded.job, regressed = excluded.regressed
         RETURNING id",
    )
    .bind(delivery.source.as_str())
    .bind(delivery.resource.as_str())
    .bind(delivery.request_id.as_deref())
    .bind(rows::to_json(&delivery.headers)?)
    .bind(packed.zlib.as_slice())
    .bind(packed.sha256.as_slice())
    .bind(delivery.verified_by.as_str())
    .bind(rows::to_json(outcome)?)
    .bind(job)
    .bind(regressed)
    .fetch_one(connection)
    .await?;
    Ok(id)
}

fn read(row: &SqliteRow) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.try_get("id")?,
        source: row.try_get("source")?,
        resource: row.try_get("resource")?,
        received_at: clock::from_millis(row.try_get("received_at")?),
        body: unpack(row.try_get("body")?).map_err(|_| rows::unreadable(row, "body", "broken compressed data"))?,
        outcome: rows::json(row, "outcome")?,
        job: row.try_get::<Option<i64>, _>("job")?.map(JobId),
    })
}

/// Work for the processor, beside the threads that answer requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(StoreError::Unavailable(Box::new(stopped))))
}

fn pack(body: &[u8]) -> Result<Packed, StoreError> {
    // The fastest level: JSON shrinks to about a third at any, and this is on the way of an answer that is waited for.
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let zlib = encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    Ok(Packed { sha256: Sha256::digest(body).into(), zlib })
}

fn unpack(zlib: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    ZlibDecoder::new(zlib).read_to_end(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_byte_by_byte() {
        for body in [&b""[..], b"{}", b"\xff\x00\xfe not text", &[b'a'; 300_000]] {
            assert_eq!(unpack(&pack(body).unwrap().zlib).unwrap(), body);
        }
    }

    #[test]
    fn a_damaged_body_is_noticed() {
        let mut zlib = pack(b"an alert about a failing checkout").unwrap().zlib;
        let last = zlib.len() - 1;
        zlib[last] ^= 1;
        assert!(unpack(&zlib).is_err());
    }
}
