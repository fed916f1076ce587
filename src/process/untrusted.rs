//! Runs one untrusted program: our side of the supervisor.
//!
//! Invariant: once a supervisor was started, no way out of here leaves the program running. Returning waits for the end of
//! its tree; dropping the future closes the supervisor's socket, which is its order to end the tree.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::children;
use super::find::find;
use super::news::News;
use super::supervise;
use super::sweep::sweep;
use super::transcript::transcribe;
use super::{Ended, ProcessError, Program, Report, Stop, Terms, disk};
use crate::limits::Limits;

/// The variable that marks every process of one run, for those that have lost their supervisor.
const MARK: &str = "PATCHWRIGHT_RUN";
/// How long a supervisor may take to end everything before we do it ourselves: the program may have frozen it.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the output may take after the end of the program.
const DRAIN: Duration = Duration::from_secs(2);
/// How long after a program, or its supervisor, was told to end by a signal we may hear that it was meant for all of us.
const SAME_SIGNAL: Duration = Duration::from_secs(2);
/// All news of one run are a few dozen bytes; whatever says more is no supervisor.
const NEWS_MAX: u64 = 4096;

/// See [`super::run_untrusted`].
pub(super) async fn run(program: &Program, terms: &Terms) -> Result<Report, ProcessError> {
    let limits = terms.limits;
    let mark = format!("{MARK}={}", random_mark().map_err(|source| not_started(program, source))?);
    let mut supervised = Supervised::start(program, terms, &mark)?;
    let start = Instant::now();

    let (stdin, stdout) = supervised.pipes().map_err(|source| not_started(program, source))?;
    let (printed, hears) = watch::channel(0);
    let close = CancellationToken::new();
    // Writing and reading at the same time: either alone would wait for ever for a program that does the other.
    let _feeding = spawn(feed(stdin, program.stdin.clone()));
    let reading = spawn(transcribe(stdout, terms.lines.clone(), printed, close.clone()));

    let ended = tokio::select! {
        biased;
        stop = first_limit(&limits, start, hears, terms) => Ok(Some(Ended::Stopped(stop))),
        ended = supervised.ended(program, terms) => ended,
    };
    let took = start.elapsed();
    let Rest { status, all_gone, leftovers, told } = supervised.finish(&mark).await;
    let ended = match ended {
        Ok(Some(Ended::Stopped(stop))) => Ok(Some(Ended::Stopped(stop))),
        ended if meant_for_us(&ended, status, told, terms).await => Ok(Some(Ended::Stopped(Stop::Cancelled))),
        ended => ended,
    }?;

    // A process that nobody could find may still hold the pipe: its end is waited for, but not for ever.
    let _closing = spawn(close_after(DRAIN, close));
    let tail = reading.await.unwrap_or_default();
    let ended = match ended {
        Some(ended @ Ended::Exit(_)) if all_gone => ended,
        Some(ended @ (Ended::Signal(_) | Ended::Stopped(_))) => ended,
        Some(Ended::Exit(_)) | None => Ended::Signal(status.unwrap_or(Signal::KILL.as_raw())),
    };
    let ended = match ended {
        Ended::Signal(signal) if signal == Signal::XFSZ.as_raw() => Ended::Stopped(Stop::Disk(limits.disk)),
        Ended::Exit(_) | Ended::Signal(_) if tail.total() > limits.output.0 => {
            Ended::Stopped(Stop::Output(limits.output))
        }
        other => other,
    };
    Ok(Report { ended, took, tail: tail.text(), printed: tail.total(), leftovers })
}

/// The supervisor as its starter sees it.
struct Supervised {
    child: Child,
    pid: Option<Pid>,
    news: Lines<BufReader<Take<OwnedReadHalf>>>,
    /// Whether a signal told it to end.
    told: bool,
    /// Dropped to tell the supervisor to stop.
    order: OwnedWriteHalf,
}

impl Supervised {
    fn start(program: &Program, terms: &Terms, mark: &str) -> Result<Self, ProcessError> {
        let file = find(program)?;
        let rest = program.argv.get(1..).unwrap_or_default();
        let (ours, theirs) = socket_pair().map_err(|source| not_started(program, source))?;
        let mut command = Command::new(&terms.supervisor);
        command
            // What `ps` shows.
            .arg0("patchwright")
            .args(supervise::arguments(terms.limits.disk.0, &file, rest))
            .current_dir(&program.dir)
            .env_clear()
            .envs(&program.env)
            .envs(mark.split_once('='))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(theirs);
        let child = children::start(&mut command)
            .map_err(|source| ProcessError::NotStarted { program: terms.supervisor.display().to_string(), source })?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let (read, order) = ours.into_split();
        Ok(Self { child, pid, news: BufReader::new(read.take(NEWS_MAX)).lines(), told: false, order })
    }

    fn pipes(&mut self) -> io::Result<(ChildStdin, ChildStdout)> {
        self.child.stdin.take().zip(self.child.stdout.take()).ok_or_else(|| io::Error::other("it got no pipes"))
    }

    /// The next piece of news but that it was told to end, which is noted; `None` once there will be no more.
    async fn next(&mut self) -> Option<News> {
        loop {
            match self.news.next_line().await.ok()??.parse().ok()? {
                News::Told => self.told = true,
                news => return Some(news),
            }
        }
    }

    /// Waits until the program has started and ended; `None` where the supervisor ended first.
    async fn ended(&mut self, program: &Program, terms: &Terms) -> Result<Option<Ended>, ProcessError> {
        match self.next().await {
            Some(News::Ready) => match self.next().await {
                Some(News::Failed { errno }) if errno == Errno::NOENT.raw_os_error() => {
                    let reason = "the interpreter that its first line (`#!`), or its format, asks for is not there";
                    Err(not_started(program, io::Error::new(io::ErrorKind::NotFound, reason)))
                }
                Some(News::Failed { errno }) => Err(not_started(program, io::Error::from_raw_os_error(errno))),
                Some(News::Exit(code)) => Ok(Some(Ended::Exit(code))),
                Some(News::Signal(signal)) => Ok(Some(Ended::Signal(signal))),
                Some(News::Ready | News::Told | News::Gone { .. }) | None => Ok(None),
            },
            Some(_) | None => {
                let reason = "it ended without a word: is this the `patchwright` executable, and may it use prctl(2)?";
                let supervisor = format!("{} {}", terms.supervisor.display(), supervise::WORD);
                Err(ProcessError::NotStarted { program: supervisor, source: io::Error::other(reason) })
            }
        }
    }

    /// Has the tree ended, and sees to it.
    async fn finish(mut self, mark: &str) -> Rest {
        drop(self.order);
        let (mut all_gone, mut leftovers) = (false, 0);
        let silence = timeout(SUPERVISOR_PATIENCE, async {
            while let Ok(Some(line)) = self.news.next_line().await {
                match line.parse() {
                    Ok(News::Gone { leftovers: count }) => (all_gone, leftovers) = (true, count),
                    Ok(News::Told) => self.told = true,
                    _ => {}
                }
            }
        });
        let frozen = silence.await.is_err();
        if let Some(pid) = self.pid {
            // Before the supervisor is reaped: until then its number, and so the session, is nobody else's.
            leftovers += sweep(pid, mark).await;
            // No-op for a supervisor that has ended; one that is frozen, or is no supervisor, ends now.
            let _ = self.child.start_kill();
            if frozen {
                leftovers += sweep(pid, mark).await;
            }
        }
        let status = self.child.wait().await;
        Rest { status: status.ok().and_then(|status| status.signal()), all_gone, leftovers, told: self.told }
    }
}

/// What is known of a supervisor after its end.
struct Rest {
    /// The signal that killed it, if one did.
    status: Option<i32>,
    /// Whether it said that none of the program's processes is left. A program whose processes killed or outlasted it may
    /// have lied about everything else, so its run is no success.
    all_gone: bool,
    /// How many processes had to be ended.
    leftovers: usize,
    /// Whether a signal told it to end.
    told: bool,
}

/// Whether a program was ended by what ends our own process: service managers signal all processes of a service at
/// once, and then nothing that the program says or does is its own end. Of a signal that a program got alone, or from an
/// agent, we hear nothing ourselves.
async fn meant_for_us(
    ended: &Result<Option<Ended>, ProcessError>,
    status: Option<i32>,
    told: bool,
    terms: &Terms,
) -> bool {
    let asks = |signal| [Signal::TERM, Signal::INT, Signal::HUP].map(Signal::as_raw).contains(&signal);
    if told || status.is_some_and(asks) || matches!(ended, Ok(Some(Ended::Signal(signal))) if asks(*signal)) {
        return timeout(SAME_SIGNAL, terms.stopping.cancelled()).await.is_ok();
    }
    let lost = status.is_some() && !matches!(ended, Ok(Some(_)));
    lost && terms.stopping.is_cancelled()
}

/// Waits for the first limit that is reached.
async fn first_limit(limits: &Limits, start: Instant, hears: watch::Receiver<u64>, terms: &Terms) -> Stop {
    let wall = async {
        sleep(limits.wall.0.saturating_sub(start.elapsed())).await;
        Stop::Wall(limits.wall)
    };
    let mut disk = pin!(disk::outgrown(terms.folder.clone(), limits.disk));
    tokio::select! {
        stop = wall => stop,
        stop = too_quiet_or_too_loud(limits, hears) => stop,
        stop = &mut disk => stop,
        () = terms.cancel.cancelled() => Stop::Cancelled,
    }
}

async fn too_quiet_or_too_loud(limits: &Limits, mut hears: watch::Receiver<u64>) -> Stop {
    loop {
        if *hears.borrow_and_update() > limits.output.0 {
            return Stop::Output(limits.output);
        }
        match timeout(limits.silence.0, hears.changed()).await {
            Ok(Ok(())) => {}
            // The output has ended, and with it every way to break a silence.
            Ok(Err(_)) => {
                sleep(limits.silence.0).await;
                return Stop::Silence(limits.silence);
            }
            Err(_) => return Stop::Silence(limits.silence),
        }
    }
}

/// Writes a program's input and closes it. A program that does not want all of it is no error.
pub(super) async fn feed(mut stdin: impl AsyncWrite + Unpin, bytes: Vec<u8>) {
    let _ = stdin.write_all(&bytes).await;
}

/// Stops the reading of a pipe that somebody still holds open.
pub(super) async fn close_after(time: Duration, close: CancellationToken) {
    sleep(time).await;
    close.cancel();
}

/// A task that ends with whoever waits for it.
pub(super) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

fn not_started(program: &Program, source: io::Error) -> ProcessError {
    ProcessError::NotStarted { program: program.argv.first().cloned().unwrap_or_default(), source }
}

/// Our end of the socket, and the supervisor's as its standard error.
fn socket_pair() -> io::Result<(tokio::net::UnixStream, Stdio)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((tokio::net::UnixStream::from_std(ours)?, Stdio::from(OwnedFd::from(theirs))))
}

/// 128 bits that no other run has.
fn random_mark() -> io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex::encode(bytes))
}
