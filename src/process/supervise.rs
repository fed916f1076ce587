//! The supervisor: this same executable, started again to stand between us and one untrusted program.
//!
//! Invariant: it ends only when none of its descendants is left. Whatever a descendant does (`setsid`, double fork, a wiped
//! environment, ignored signals), the kernel hands it to the nearest *subreaper* when its parent ends, which is us; and
//! `wait` answers "no children" only when there is none. See prctl(2), `PR_SET_CHILD_SUBREAPER`.
//!
//! Its standard error is no error output but one end of a socket: news go out, and its closing by the other side, also by
//! the death of the other side, is the order to stop. The program never gets this socket.
//!
//! Files that we open are closed on exec. Files that were left open to *us* by whoever started us are passed on, since
//! nothing in safe Rust closes a file by its number.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getpid, getrlimit, set_child_subreaper, setrlimit, setsid,
    wait,
};
use rustix::thread::set_no_new_privs;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use super::harden::harden_self;
use super::keeper;
use super::news::News;
use super::tree::{families, processes};

/// The first argument that makes this executable a supervisor.
pub const WORD: &str = "__supervise";

/// How long what has to end may clean up after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_millis(250);
/// How long SIGKILL may take to be obeyed (a process in an uninterruptible call obeys late) before we report without it.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two rounds of SIGKILL, when no process ends earlier; and between one of us being told to end and all of us.
pub(super) const ROUND: Duration = Duration::from_millis(10);
/// Open files: enough for compilers, few enough for programs that close "all possible" ones one by one.
const OPEN_FILES: u64 = 4096;
/// What a program may raise that to by itself, as JVMs and Node do.
const OPEN_FILES_MAX: u64 = 65_536;

/// The arguments that [`main`] understands, for a program that may write files of at most `file_size` bytes.
pub(super) fn arguments(file_size: u64, program: &Path, rest: &[String]) -> Vec<OsString> {
    let head = [OsString::from(WORD), file_size.to_string().into(), program.into()];
    head.into_iter().chain(rest.iter().map(OsString::from)).collect()
}

/// Runs as a supervisor with the arguments behind [`WORD`]. To be called before anything else happens in the process: the
/// limits set here hold for the whole process.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let first = arguments.next().unwrap_or_default();
    let done = if first == keeper::TOOL {
        keeper::main(arguments)
    } else if first == keeper::END {
        keeper::end(arguments)
    } else {
        supervise(&first, arguments).map(|()| ExitCode::SUCCESS)
    };
    // The other side sees the socket close without the last news, and treats the run as broken.
    done.unwrap_or(ExitCode::FAILURE)
}

fn supervise(file_size: &OsStr, mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let file_size = file_size.to_str().and_then(|bytes| bytes.parse().ok());
    let (Some(file_size), Some(program)) = (file_size, arguments.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a supervisor needs a file size and a program"));
    };
    let other_side = UnixStream::from(io::stderr().as_fd().try_clone_to_owned()?);
    other_side.set_nonblocking(true)?;
    confine(file_size)?;
    let mut command = Command::new(PathBuf::from(program));
    command.args(arguments);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(command, other_side))
}

/// Restricts this process, and with it every program that it starts.
fn confine(file_size: u64) -> io::Result<()> {
    // A session of its own: no controlling terminal to type into, and a mark that descendants keep.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    // From here on no set-user-id program (sudo, fusermount) gives anyone more rights than we have.
    set_no_new_privs(true)?;
    harden_self()?;
    setrlimit(Resource::Fsize, Rlimit { current: Some(file_size), maximum: Some(file_size) })?;
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX);
    setrlimit(Resource::Nofile, Rlimit { current: Some(hard.min(OPEN_FILES)), maximum: Some(hard) })?;
    Ok(())
}

async fn run(mut command: Command, other_side: UnixStream) -> io::Result<()> {
    // Listening comes before starting: an earlier end would go unnoticed.
    let mut child_ended = signal(SignalKind::child())?;
    let mut wishes = Wishes::listen()?;
    let mut orders = tokio::net::UnixStream::from_std(other_side.try_clone()?)?;

    // Output and error share one pipe, so that their order is kept.
    command.stderr(Stdio::from(io::stdout().as_fd().try_clone_to_owned()?)).process_group(0);
    tell(&other_side, News::Ready)?;
    let started = command.spawn();
    let program = match started.as_ref().map(Pid::from_child) {
        Ok(program) => program,
        Err(error) => return tell(&other_side, News::Failed { errno: error.raw_os_error().unwrap_or(0) }),
    };

    let mut tree = Tree::of(program);
    let order_to_stop = async {
        let mut order = [0; 1];
        let _ = orders.read(&mut order).await;
    };
    tokio::select! {
        () = tree.program_ended(&mut child_ended) => {},
        () = order_to_stop => {},
        () = wishes.next() => {
            let _ = tell(&other_side, News::Told);
        }
    }
    // Nobody may be there any more to hear the news. The tree is ended all the same.
    let tell_of = |status: Option<WaitStatus>| status.and_then(end_of).map(|end| tell(&other_side, end));
    let told = tell_of(tree.status);
    let all_gone = tree.end(&mut child_ended).await;
    if told.is_none() {
        let _ = tell_of(tree.status);
    }
    // One that is for all of us may have hit the program an instant before us.
    if timeout(ROUND, wishes.next()).await.is_ok() {
        let _ = tell(&other_side, News::Told);
    }
    if all_gone {
        let _ = tell(&other_side, News::Gone { leftovers: tree.signalled.len() });
    }
    Ok(())
}

/// The signals by which people and service managers ask programs to end.
pub(super) struct Wishes {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Wishes {
    /// From now on the signals do not end this process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {},
            _ = self.interrupt.recv() => {},
            _ = self.hang_up.recv() => {},
        }
    }
}

/// The program and everything that comes from it.
pub(super) struct Tree {
    program: Pid,
    /// How the program ended, once it has.
    status: Option<WaitStatus>,
    /// The processes besides the program that had to be told to end.
    signalled: HashSet<Pid>,
}

impl Tree {
    /// The tree of a child of this process, which has to be a subreaper.
    pub(super) fn of(program: Pid) -> Self {
        Self { program, status: None, signalled: HashSet::new() }
    }

    /// How the program ended, if it has.
    pub(super) fn status(&self) -> Option<WaitStatus> {
        self.status
    }

    /// Waits for the end of the program; others of its tree may be left.
    pub(super) async fn program_ended(&mut self, child_ended: &mut tokio::signal::unix::Signal) {
        while self.reap() && self.status.is_none() {
            child_ended.recv().await;
        }
    }

    /// Takes note of all that have ended; says whether any child is left, and so whether any descendant is.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => self.status = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Ends every descendant; `false` where some would not die in time.
    pub(super) async fn end(&mut self, child_ended: &mut tokio::signal::unix::Signal) -> bool {
        let start = Instant::now();
        if self.reap() {
            self.signal(Signal::TERM);
        }
        while self.reap() {
            let waited = start.elapsed();
            let pause = match GRACE.checked_sub(waited) {
                Some(rest) if !rest.is_zero() => rest,
                _ if waited > PATIENCE => return false,
                _ => {
                    // Again and again: a process may have forked after it was seen, before it was hit.
                    self.signal(Signal::KILL);
                    ROUND
                }
            };
            let _ = timeout(pause, child_ended.recv()).await;
        }
        true
    }

    fn signal(&mut self, signal: Signal) {
        let us = getpid();
        for process in families(&processes(), |process| process.parent == us.as_raw_pid()) {
            process.signal(signal);
            if process.pid != self.program && !process.zombie {
                self.signalled.insert(process.pid);
            }
        }
    }
}

fn end_of(status: WaitStatus) -> Option<News> {
    status.exit_status().map(News::Exit).or(status.terminating_signal().map(News::Signal))
}

fn tell(mut other_side: &UnixStream, news: News) -> io::Result<()> {
    other_side.write_all(format!("{news}\n").as_bytes())
}
