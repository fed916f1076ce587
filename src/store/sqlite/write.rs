//! How the store writes: whole transactions that outlive a caller who goes away.
//!
//! Invariant: a write under a lease is checked against that lease in the same transaction, so no claim fits in between; a
//! write that failed leaves no connection behind that the next one could stumble over.

use std::pin::Pin;

use sqlx::{Connection, Row, SqliteConnection};

use super::SqliteStore;
use super::rows;
use crate::job::{Lease, Stage};
use crate::store::StoreError;

/// What is done inside a transaction.
pub(super) type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

/// A lease that holds for as long as the transaction which found it is open.
pub(super) struct Held {
    /// The stage that the job is in; the first one until it has entered any.
    pub(super) stage: Stage,
    /// Whether a person wants the job stopped.
    pub(super) cancel_requested: bool,
}

impl SqliteStore {
    /// Does `work` in one transaction: all of it is on disk when this returns `Ok`, and nothing of it after an error.
    ///
    /// The transaction runs in a task of its own. An HTTP handler's future is dropped when its client hangs up, and a
    /// transaction must not be dropped between its statements.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut SqliteConnection) -> Work<'t, T> + Send + 'static,
    {
        let writer = self.writer.clone();
        let task = tokio::spawn(async move {
            let mut connection = writer.acquire().await?;
            let result = transact(&mut connection, work).await;
            if result.is_err() {
                // On a full or failing disk SQLite rolls back by itself. sqlx does not hear of it: it takes the transaction
                // to be open for ever, and no other could begin on this connection.
                connection.close_on_drop();
            }
            result
        });
        task.await.unwrap_or_else(|stopped| Err(StoreError::Unavailable(Box::new(stopped))))
    }

    /// Like [`Self::write`], for the holder of `lease` only.
    pub(super) async fn write_under<T, W>(&self, lease: &Lease, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut SqliteConnection, Held) -> Work<'t, T> + Send + 'static,
    {
        let lease = lease.clone();
        self.write(move |connection| {
            Box::pin(async move {
                let held = held(connection, &lease).await?;
                work(connection, held).await
            })
        })
        .await
    }
}

/// One transaction on a connection that has none open. After an error the connection is not to be used again.
async fn transact<T, W>(connection: &mut SqliteConnection, work: W) -> Result<T, StoreError>
where
    W: for<'t> FnOnce(&'t mut SqliteConnection) -> Work<'t, T>,
{
    // A deferred transaction that reads before it writes fails with SQLITE_BUSY at once, whatever busy_timeout says.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let result = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok(result)
}

/// Writes to the database, for nothing else shows that it can be written to.
pub(super) async fn check(store: &SqliteStore) -> Result<(), StoreError> {
    store
        .write(|connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO readiness (only_row, checked_at) VALUES (1, (SELECT now FROM clock))
                     ON CONFLICT (only_row) DO UPDATE SET checked_at = excluded.checked_at",
                )
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// The job's row as far as a lease is concerned, or [`StoreError::LeaseLost`].
///
/// A lease that has run out still counts as long as nobody has claimed the job since: the work is not in vain then.
async fn held(connection: &mut SqliteConnection, lease: &Lease) -> Result<Held, StoreError> {
    let row = sqlx::query(
        "SELECT id, stage, cancel_requested FROM jobs
         WHERE id = ? AND fence = ? AND lease_owner = ? AND state = 'running'",
    )
    .bind(lease.job.0)
    .bind(lease.fence)
    .bind(lease.owner.as_str())
    .fetch_optional(connection)
    .await?
    .ok_or(StoreError::LeaseLost(lease.job))?;
    Ok(Held { stage: rows::stage_or_first(&row)?, cancel_requested: row.try_get("cancel_requested")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_was_full_takes_the_next_write() {
        let home = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&home.path().join("patchwright.db")).await.unwrap();
        // Stands in for a full disk: no page may be added from now on, by this connection.
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.writer).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
            .execute(&store.writer)
            .await
            .unwrap();
        let grown = store.write(|connection| {
            Box::pin(async move {
                sqlx::query("CREATE TABLE bulk AS SELECT zeroblob(1000000) AS bytes").execute(connection).await?;
                Ok(())
            })
        });
        let full = grown.await.unwrap_err();
        assert!(full.to_string().contains("make room"), "{full}");
        check(&store).await.unwrap();
    }
}
