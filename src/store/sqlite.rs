//! The store in one SQLite file, for a service that runs on one machine.
//!
//! Invariant: every write goes through `SqliteStore::write`, one transaction at a time, and is whole or absent.

mod attempts;
mod claims;
mod deliveries;
mod fault;
mod history;
mod jobs;
mod leased;
mod open;
mod rows;
mod transitions;
mod write;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::SqlitePool;

use super::{Accepted, Claim, Delivery, Intent, JobFilter, KnownPullRequest, NewDelivery, NewEvent, Store, StoreError};
use crate::clock::Moment;
use crate::job::{Attempt, Job, JobEvent, JobId, Lease, Stage, State};
use crate::outcome::Outcome;
use crate::redact::Redacted;

/// A store in a SQLite file; clones share its connections.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    /// One connection: SQLite has one writer at a time, and queueing for it here is fair and cheap.
    writer: SqlitePool,
    /// A few connections, opened when needed; in WAL mode they never wait for the writer.
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the database at `path`, creates it (and its folders) where it is not there, and brings its schema up to date.
    ///
    /// The file and its companions (`-wal`, `-shm`) are made readable for their owner alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the file cannot be created, opened or locked; [`StoreError::Corrupt`] where it is
    /// no database, another program's, or one that a newer version of Patchwright has written.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        open::open(path).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, delivery: NewDelivery, intent: Intent) -> Result<Accepted, StoreError> {
        deliveries::accept(self, delivery, intent).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Option<(Job, Lease)>, StoreError> {
        claims::claim(self, claim).await
    }

    async fn claim_job(&self, job: JobId, claim: &Claim) -> Result<Option<(Job, Lease)>, StoreError> {
        claims::claim_job(self, job, claim).await
    }

    async fn renew(&self, lease: &Lease, length: Duration) -> Result<bool, StoreError> {
        leased::renew(self, lease, length).await
    }

    async fn check_lease(&self, lease: &Lease, margin: Duration) -> Result<(), StoreError> {
        leased::check(self, lease, margin).await
    }

    async fn enter(&self, lease: &Lease, stage: Stage) -> Result<(), StoreError> {
        leased::enter(self, lease, stage).await
    }

    async fn record(&self, lease: &Lease, events: &[NewEvent]) -> Result<(), StoreError> {
        leased::record(self, lease, events).await
    }

    async fn save(&self, lease: &Lease, name: &str, value: &Redacted<Value>) -> Result<(), StoreError> {
        leased::save(self, lease, name, value).await
    }

    async fn saved(&self, job: JobId, name: &str) -> Result<Option<Value>, StoreError> {
        jobs::saved(self, job, name).await
    }

    async fn begin_attempt(&self, lease: &Lease, agent: &str) -> Result<i64, StoreError> {
        attempts::begin(self, lease, agent).await
    }

    async fn end_attempt(&self, lease: &Lease, number: i64, result: &Redacted<String>) -> Result<(), StoreError> {
        attempts::end(self, lease, number, result).await
    }

    async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>, StoreError> {
        attempts::of_job(self, job).await
    }

    async fn save_pull_request(&self, lease: &Lease, pull_request: &KnownPullRequest) -> Result<(), StoreError> {
        leased::save_pull_request(self, lease, pull_request).await
    }

    async fn pull_requests(
        &self,
        source: &str,
        project: &str,
        issue: &str,
    ) -> Result<Vec<KnownPullRequest>, StoreError> {
        jobs::pull_requests(self, source, project, issue).await
    }

    async fn finish(&self, lease: &Lease, outcome: &Redacted<Outcome>) -> Result<(), StoreError> {
        leased::finish(self, lease, outcome).await
    }

    async fn hand_back(&self, lease: &Lease, at: Moment, counts: bool) -> Result<(), StoreError> {
        leased::hand_back(self, lease, at, counts).await
    }

    async fn job(&self, job: JobId) -> Result<Job, StoreError> {
        jobs::job(self, job).await
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Result<Job, StoreError>>, StoreError> {
        jobs::jobs(self, filter).await
    }

    async fn events(&self, job: JobId, after: i64, limit: u32) -> Result<Vec<JobEvent>, StoreError> {
        history::events(self, job, after, limit).await
    }

    async fn deliveries(&self, job: JobId, newest: u32) -> Result<Vec<Delivery>, StoreError> {
        deliveries::of_job(self, job, newest).await
    }

    async fn delivery_count(&self, job: JobId) -> Result<u64, StoreError> {
        deliveries::count(self, job).await
    }

    async fn delivery(&self, id: i64) -> Result<Option<Delivery>, StoreError> {
        deliveries::delivery(self, id).await
    }

    async fn cancel(&self, job: JobId) -> Result<State, StoreError> {
        jobs::cancel(self, job).await
    }

    async fn retry(&self, job: JobId, fresh: bool) -> Result<(), StoreError> {
        jobs::retry(self, job, fresh).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        write::check(self).await
    }

    async fn identity(&self) -> Result<String, StoreError> {
        jobs::identity(self).await
    }

    /// The one file then holds everything and can be copied.
    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
