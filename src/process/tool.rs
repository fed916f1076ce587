//! Runs one trusted tool (`git`) and collects what it prints.
//!
//! Invariant: the tool and all that it started are dead when this returns, and soon after it is dropped or we die; memory
//! stays bounded.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::children;
use super::find::find;
use super::keeper;
use super::transcript::transcribe;
use super::untrusted::{close_after, spawn};
use super::{Ended, ProcessError, Program, Stop, ToolOutput, ToolTerms};
use crate::limits::{Size, Span};

/// The most that a tool may print to standard output. It is kept in memory.
const STDOUT_MAX: Size = Size(256 << 20);
/// How long its keeper may take to end everything. It gives the tool a moment to clean up (`git` removes its lock files).
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the output may take after the end of the tool.
const DRAIN: Duration = Duration::from_secs(2);

/// See [`super::run_tool`].
pub(super) async fn run(program: &Program, terms: ToolTerms<'_>) -> Result<ToolOutput, ProcessError> {
    let (limit, cancel) = (terms.timeout, terms.cancel);
    let mut keeper = Keeper(start(program, terms)?);
    let child = &mut keeper.0;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(not_started(program, std::io::Error::other("it got no pipes")));
    };
    let (too_much, overflow) = oneshot::channel();
    let close = CancellationToken::new();
    let out = spawn(collect(out, STDOUT_MAX, too_much, close.clone()));
    let err = spawn(transcribe(err, None, watch::channel(0).0, close.clone()));

    let stop = tokio::select! {
        biased;
        Ok(()) = overflow => Some(Stop::Output(STDOUT_MAX)),
        _ = child.wait() => None,
        () = tokio::time::sleep(limit) => Some(Stop::Wall(Span(limit))),
        () = cancel.cancelled() => Some(Stop::Cancelled),
    };
    if stop.is_some() {
        keeper.order_to_stop();
        if timeout(PATIENCE, keeper.0.wait()).await.is_err() {
            let _ = keeper.0.start_kill();
        }
    }
    let status = keeper.0.wait().await.map_err(|source| not_started(program, source))?;

    let _closing = spawn(close_after(DRAIN, close));
    // Asked again here: a tool may end by itself an instant before its last bytes are read.
    let (stdout, stop) = match out.await.unwrap_or_default() {
        Some(stdout) => (stdout, stop),
        None => (Vec::new(), Some(Stop::Output(STDOUT_MAX))),
    };
    let stderr = err.await.unwrap_or_default().text();
    Ok(ToolOutput { ended: stop.map_or_else(|| end_of(status), Ended::Stopped), stdout, stderr })
}

fn start(program: &Program, terms: ToolTerms<'_>) -> Result<Child, ProcessError> {
    let file = find(program)?;
    let mut command = Command::new(terms.supervisor);
    command
        // What `ps` shows.
        .arg0("patchwright")
        .args(keeper::arguments(&file, program.argv.get(1..).unwrap_or_default()))
        .current_dir(&program.dir)
        .env_clear()
        .envs(&program.env)
        .stdin(terms.holds.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    children::start(&mut command).map_err(|source| not_started(program, source))
}

/// The process that ends the tool; told to do so when this is dropped before its end was seen.
struct Keeper(Child);

impl Keeper {
    fn order_to_stop(&self) {
        // There is no number any more once it was waited for, so the number is nobody else's.
        if let Some(pid) = self.0.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.order_to_stop();
    }
}

/// Reads all, at most `limit`; where there is more, it is not read but reported at once, and `None` is given.
async fn collect(
    pipe: impl AsyncRead + Unpin,
    limit: Size,
    too_much: oneshot::Sender<()>,
    close: CancellationToken,
) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let mut pipe = pipe.take(limit.0.saturating_add(1));
    tokio::select! {
        _ = pipe.read_to_end(&mut all) => {},
        () = close.cancelled() => {},
    }
    if u64::try_from(all.len()).is_ok_and(|length| length <= limit.0) {
        return Some(all);
    }
    let _ = too_much.send(());
    None
}

fn end_of(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, signal) => Ended::Signal(signal.unwrap_or(Signal::KILL.as_raw())),
    }
}

fn not_started(program: &Program, source: std::io::Error) -> ProcessError {
    ProcessError::NotStarted { program: program.argv.first().cloned().unwrap_or_default(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fits_is_given_whole_and_what_does_not_is_reported_at_once() {
        let (too_much, mut overflow) = oneshot::channel();
        let close = CancellationToken::new();
        assert_eq!(collect(&b"four"[..], Size(4), too_much, close.clone()).await, Some(b"four".to_vec()));
        assert!(overflow.try_recv().is_err());
        let (too_much, overflow) = oneshot::channel();
        assert_eq!(collect(tokio::io::repeat(0), Size(1 << 20), too_much, close).await, None);
        assert_eq!(overflow.await, Ok(()));
    }
}
