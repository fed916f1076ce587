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

/// Lines of one command's output that are kept, with the one that says so.
const MOST_LINES: usize = 5_000;
/// Bytes of one command's output that are kept.
const MOST_BYTES: usize = 1 << 20;
/// How long lines are collected before they are written in one go, and how many at most. Others wait for the database, too.
const BATCH_TIME: Duration = Duration::from_millis(200);
const BATCH_LINES: usize = 64;
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
        let mut keeper = Keeper::new(stage, Arc::clone(&self.redactor));
        while let Some(first) = lines.recv().await {
            if keeper.is_full() {
                // Taken all the same, so that nobody waits for us to do it.
                continue;
            }
            let deadline = tokio::time::Instant::now() + BATCH_TIME;
            let mut batch = vec![first];
            while batch.len() < BATCH_LINES
                && let Ok(Some(line)) = tokio::time::timeout_at(deadline, lines.recv()).await
            {
                batch.push(line);
            }
            // A flood keeps a processor busy, and the threads of the runtime also answer webhooks and renew leases.
            let done = tokio::task::spawn_blocking(move || {
                let events = keeper.keep(batch);
                (keeper, events)
            });
            let Ok((back, events)) = done.await else {
                tracing::error!("the output of a command could not be prepared for its history; the rest is not kept");
                return;
            };
            keeper = back;
            // A lost lease or a database that is down is found out by the worker; output alone must not end a run.
            if let Some((store, lease)) = &self.kept
                && !events.is_empty()
                && let Err(error) = store.record(lease, &events).await
            {
                tracing::warn!(job = lease.job.0, %error, "output could not be kept");
            }
        }
    }
}

/// Makes lines of the history from what one command prints.
struct Keeper {
    stage: Stage,
    redactor: Arc<Redactor>,
    key_block: KeyBlock,
    /// How much more is kept.
    lines: usize,
    bytes: usize,
}

impl Keeper {
    fn new(stage: Stage, redactor: Arc<Redactor>) -> Self {
        Self { stage, redactor, key_block: KeyBlock::default(), lines: MOST_LINES, bytes: MOST_BYTES }
    }

    const fn is_full(&self) -> bool {
        self.lines == 0
    }

    fn keep(&mut self, batch: Vec<String>) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for line in batch {
            if self.is_full() {
                break;
            }
            let line = if self.key_block.hides(&line) { KEY_LINE.to_owned() } else { line };
            let Some(text) = self.readable(&line) else { continue };
            match self.bytes.checked_sub(text.as_str().len()) {
                Some(rest) => (self.bytes, self.lines) = (rest, self.lines - 1),
                None => self.lines = 0,
            }
            let text = if self.is_full() { Redacted::ours(CUT_LINE) } else { text };
            events.push(NewEvent { stage: self.stage, kind: EventKind::Output, text });
        }
        events
    }

    /// A line for the history; an agent's events as people read them.
    fn readable(&self, line: &str) -> Option<Redacted<String>> {
        let text = self.redactor.text(line);
        if self.stage == Stage::Agent {
            return Some(self.redactor.text(&stream::readable(text.as_str())?));
        }
        Some(text)
    }
}

/// What stands in the place of the rest of a long output.
const CUT_LINE: &str = "[further output of this command is not kept here]";
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

    fn kept(lines: usize, line: &str) -> Vec<String> {
        let mut keeper = Keeper::new(Stage::Proof, Arc::new(Redactor::default()));
        let mut events = Vec::new();
        for _ in 0..lines.div_ceil(BATCH_LINES) {
            events.extend(keeper.keep(vec![line.to_owned(); BATCH_LINES]));
        }
        events.into_iter().map(|event| event.text.into_inner()).collect()
    }

    #[test]
    fn output_is_cut_after_so_many_lines_or_bytes_with_one_line_that_says_so() {
        let many = kept(MOST_LINES + 500, "x");
        assert_eq!((many.len(), many[MOST_LINES - 1].as_str()), (MOST_LINES, CUT_LINE));
        let long = "a b ".repeat(2_000);
        let large = kept(500, &long);
        assert_eq!(large.len(), MOST_BYTES / long.len() + 1);
        assert_eq!(large.iter().filter(|line| line.as_str() == CUT_LINE).count(), 1);
        assert_eq!(large.last().map(String::as_str), Some(CUT_LINE));
    }

    #[test]
    fn a_certificate_is_no_secret() {
        assert!(!KeyBlock::default().hides("-----BEGIN CERTIFICATE-----"));
    }
}
