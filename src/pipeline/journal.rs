//! The live history of a run, written to the store as it happens.
//!
//! Invariant: every line is redacted before it is kept, and a flood of output is cut with a line that says so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::agent::stream;
use crate::job::{EventKind, Lease, Stage};
use crate::redact::{Redacted, Redactor};
use crate::store::{NewEvent, Store, StoreError};

/// Lines of one command's output that are kept.
const MOST_LINES: usize = 5_000;
/// How long lines are collected before they are written in one go.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// Lines that wait to be written; the command is never held up by the database, further lines are dropped and counted.
const QUEUE: usize = 4_096;

/// Writes the history of one run; a silent one keeps nothing.
#[derive(Clone, Debug)]
pub struct Journal {
    kept: Option<(Arc<dyn Store>, Lease)>,
    redactor: Arc<Redactor>,
}

impl Journal {
    /// A journal in the store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, lease: Lease, redactor: Arc<Redactor>) -> Self {
        Self { kept: Some((store, lease)), redactor }
    }

    /// A journal that keeps nothing, for a look without a job.
    #[must_use]
    pub fn silent(redactor: Arc<Redactor>) -> Self {
        Self { kept: None, redactor }
    }

    /// Notes that a stage begins.
    ///
    /// # Errors
    /// Where the store does not take it; [`StoreError::LeaseLost`] means to stop at once.
    pub async fn enter(&self, stage: Stage) -> Result<(), StoreError> {
        if let Some((store, lease)) = &self.kept {
            store.enter(lease, stage).await?;
            tracing::info!(job = lease.job.0, stage = stage.name(), "stage begins");
        }
        self.write(stage, EventKind::Stage, stage.name()).await
    }

    /// Notes something that we did or found.
    ///
    /// # Errors
    /// As [`Journal::enter`].
    pub async fn note(&self, stage: Stage, text: &str) -> Result<(), StoreError> {
        self.write(stage, EventKind::Note, text).await
    }

    /// Notes something that went wrong.
    ///
    /// # Errors
    /// As [`Journal::enter`].
    pub async fn problem(&self, stage: Stage, text: &str) -> Result<(), StoreError> {
        self.write(stage, EventKind::Problem, text).await
    }

    async fn write(&self, stage: Stage, kind: EventKind, text: &str) -> Result<(), StoreError> {
        let Some((store, lease)) = &self.kept else { return Ok(()) };
        store.record(lease, &[NewEvent { stage, kind, text: self.redactor.text(text) }]).await
    }

    /// A channel for the lines that a command prints, and the task that keeps them; await the task after the command.
    #[must_use]
    pub fn output(&self, stage: Stage) -> (mpsc::Sender<String>, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (sender, tokio::spawn(self.clone().keep_output(stage, receiver)))
    }

    async fn keep_output(self, stage: Stage, mut lines: mpsc::Receiver<String>) {
        let (mut kept, mut key_block) = (0_usize, KeyBlock::default());
        let mut batch = Vec::new();
        while let Some(first) = lines.recv().await {
            let deadline = tokio::time::Instant::now() + BATCH_TIME;
            batch.push(first);
            while let Ok(Some(line)) = tokio::time::timeout_at(deadline, lines.recv()).await {
                batch.push(line);
            }
            let room = MOST_LINES.saturating_sub(kept);
            let mut events: Vec<NewEvent> = batch
                .drain(..)
                .map(|line| if key_block.hides(&line) { KEY_LINE.to_owned() } else { line })
                .filter_map(|line| self.line(stage, &line))
                .take(room)
                .collect();
            kept += events.len();
            if room > 0 && kept >= MOST_LINES {
                let text = Redacted::ours("[further output of this command is not kept here]");
                events.push(NewEvent { stage, kind: EventKind::Output, text });
            }
            // A lost lease or a database that is down is found out by the worker; output alone must not end a run.
            if let Some((store, lease)) = &self.kept
                && !events.is_empty()
                && let Err(error) = store.record(lease, &events).await
            {
                tracing::warn!(job = lease.job.0, %error, "output could not be kept");
            }
        }
    }

    /// A line for the history; an agent's events as people read them.
    fn line(&self, stage: Stage, line: &str) -> Option<NewEvent> {
        let mut text = self.redactor.text(line);
        if stage == Stage::Agent {
            text = self.redactor.text(&stream::readable(text.as_str())?);
        }
        Some(NewEvent { stage, kind: EventKind::Output, text })
    }
}

/// What stands in the place of a line of a private key.
const KEY_LINE: &str = "[redacted:private-key]";

/// Follows private keys through lines: a line from the middle of one has nothing that gives it away.
#[derive(Debug, Default)]
struct KeyBlock {
    inside: bool,
}

impl KeyBlock {
    /// Whether this next line is part of a private key (PEM, RFC 7468).
    fn hides(&mut self, line: &str) -> bool {
        let begins = line.contains("-----BEGIN ") && line.contains("PRIVATE KEY");
        let hidden = self.inside || begins;
        self.inside = hidden && !line.contains("-----END ");
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_private_key_is_hidden_and_the_next_is_not() {
        let lines =
            ["hello", "-----BEGIN RSA PRIVATE KEY-----", "MIIEow", "a3q==", "-----END RSA PRIVATE KEY-----", "bye"];
        let mut block = KeyBlock::default();
        assert_eq!(lines.map(|line| block.hides(line)), [false, true, true, true, true, false]);
    }

    #[test]
    fn a_certificate_is_no_secret() {
        assert!(!KeyBlock::default().hides("-----BEGIN CERTIFICATE-----"));
    }
}
