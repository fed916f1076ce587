//! The keeper: this same executable, started again to stand between us and one trusted tool (`git`).
//!
//! Invariant: it ends only when none of its descendants is left; the end of the service, however sudden, is its order
//! to end them. As long as it lives, so does the lock that it got as its standard input, so that nobody works where a
//! tool still does.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{
    Pid, Signal, WaitStatus, getpid, getppid, kill_process, set_child_subreaper, set_parent_process_death_signal,
    setsid,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::harden::harden_self;
use super::supervise::{ROUND, Tree, WORD, Wishes};
use super::this_executable;

/// The argument behind [`WORD`] that makes this executable a keeper.
pub(super) const TOOL: &str = "tool";
/// The argument behind [`WORD`] that has this executable end by a signal.
pub(super) const END: &str = "end";

/// The arguments with which this process starts a keeper.
pub(super) fn arguments(program: &Path, rest: &[String]) -> Vec<OsString> {
    let head = [WORD.into(), TOOL.into(), std::process::id().to_string().into(), program.into()];
    head.into_iter().chain(rest.iter().map(OsString::from)).collect()
}

/// Runs as a keeper with the arguments behind [`TOOL`], and ends as the tool did.
pub(super) fn main(mut arguments: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let service = arguments.next().as_deref().and_then(OsStr::to_str).and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    let (Some(service), Some(program)) = (service, arguments.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a keeper needs a process and a program"));
    };
    harden_self()?;
    // Sent when the thread ends that started us. Threads of the runtime end with the process.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    set_child_subreaper(Some(getpid()))?;
    // No controlling terminal: an interrupt there is for the service, which then decides.
    setsid()?;
    let mut command = Command::new(program);
    // The tool reads nothing, but holds the lock should we be killed.
    command.args(arguments).stdin(Stdio::inherit());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(run(command, service))? {
        End::Code(code) => Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)),
        // Those that we listen to do not end us. They do where the same process becomes another program.
        End::Signal(signal) => {
            Err(Command::new(this_executable()).env_clear().args([WORD, END, &signal.as_raw().to_string()]).exec())
        }
    }
}

/// Ends this process by the signal that is named behind [`END`].
pub(super) fn end(mut arguments: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let signal = arguments.next().as_deref().and_then(OsStr::to_str).and_then(|signal| signal.parse().ok());
    if let Some(signal) = signal.and_then(Signal::from_named_raw) {
        kill_process(getpid(), signal)?;
    }
    Ok(ExitCode::FAILURE)
}

/// How a tool ended.
enum End {
    Code(i32),
    Signal(Signal),
}

async fn run(mut command: Command, service: Pid) -> io::Result<End> {
    // Listening comes before starting: an earlier end would go unnoticed.
    let mut child_ended = signal(SignalKind::child())?;
    let mut wishes = Wishes::listen()?;
    if getppid() != Some(service) {
        return Err(io::Error::other("the service ended before the tool began"));
    }
    let mut tree = Tree::of(Pid::from_child(&command.spawn()?));
    let mut told = tokio::select! {
        () = tree.program_ended(&mut child_ended) => false,
        () = wishes.next() => true,
    };
    tree.end(&mut child_ended).await;
    let code = tree.status().and_then(WaitStatus::exit_status);
    // A signal that is for all of us may have hit the tool, or one that it had started, an instant before us.
    told = told || (code != Some(0) && timeout(ROUND, wishes.next()).await.is_ok());
    let signal = tree.status().and_then(WaitStatus::terminating_signal).and_then(Signal::from_named_raw);
    Ok(match code {
        _ if told => End::Signal(Signal::TERM),
        Some(code) => End::Code(code),
        None => End::Signal(signal.unwrap_or(Signal::KILL)),
    })
}
