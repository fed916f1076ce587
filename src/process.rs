//! Starts programs, reads what they print, holds them to their limits, and ends their whole process tree.
//!
//! Invariant: nothing else in this crate starts a process; when a function here returns, nothing that the program
//! started is left.

mod children;
mod disk;
mod find;
mod harden;
mod keeper;
mod news;
pub mod supervise;
mod sweep;
mod tool;
mod transcript;
mod tree;
mod untrusted;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::children::adopt_orphans;
pub use self::find::find_program;
pub use self::harden::harden_self;
use crate::limits::{Limits, Size, Span};

/// A program to start. Its environment is exactly `env`; nothing is inherited. No shell is involved.
#[derive(Clone)]
pub struct Program {
    /// Program and arguments. A program with a slash is taken relative to `dir`; a bare name is looked up in the absolute
    /// folders of the `PATH` in `env`, and nowhere else.
    pub argv: Vec<String>,
    /// Folder to start in.
    pub dir: PathBuf,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// What it reads on standard input, which is then closed.
    pub stdin: Vec<u8>,
}

/// Shows the names of the variables and the length of the input only: both may hold secrets.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("argv", &self.argv)
            .field("dir", &self.dir)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("stdin", &format_args!("{} bytes", self.stdin.len()))
            .finish()
    }
}

/// How a program came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It ended by itself with this code.
    Exit(i32),
    /// A signal that was not ours ended it.
    Signal(i32),
    /// We ended it.
    Stopped(Stop),
}

/// Why we ended a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It ran longer than this.
    Wall(Span),
    /// It printed nothing for this long.
    Silence(Span),
    /// It printed more than this.
    Output(Size),
    /// Its folder grew beyond this.
    Disk(Size),
    /// The job was cancelled, its lease was lost, or we are shutting down.
    Cancelled,
}

/// To be put after the name of a program: "ended with exit code 2".
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}, not by us"),
            Self::Stopped(stop) => stop.fmt(f),
        }
    }
}

/// To be put after the name of a program: "was stopped after 30m".
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wall(span) => write!(f, "was stopped after {span}"),
            Self::Silence(span) => write!(f, "was stopped after {span} without output"),
            Self::Output(size) => write!(f, "was stopped after {size} of output"),
            Self::Disk(size) => write!(f, "was stopped when its folder grew beyond {size}"),
            Self::Cancelled => f.write_str("was cancelled"),
        }
    }
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// How long it ran; ending what it left behind is not counted.
    pub took: Duration,
    /// The last part of its output, standard output and error mixed in the order of arrival.
    pub tail: String,
    /// How many bytes it printed in all.
    pub printed: u64,
    /// How many processes it had left behind that we had to end.
    pub leftovers: usize,
}

/// Why a program could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program on the `PATH` given.
    #[error("the program `{program}` was not found on PATH ({path})")]
    NotFound {
        /// The program.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// The file that was named is not there, or is none to execute.
    #[error("the program `{program}` is not there as an executable file (looked for {})", file.display())]
    NoSuchFile {
        /// The program.
        program: String,
        /// The file.
        file: PathBuf,
    },
    /// It could not be started.
    #[error("`{program}` could not be started: {source}")]
    NotStarted {
        /// The program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The terms under which an untrusted program runs.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its limits.
    pub limits: Limits,
    /// The folder whose size is held to `limits.disk`.
    pub folder: PathBuf,
    /// The `patchwright` executable, which is started again as the supervisor.
    pub supervisor: PathBuf,
    /// Ends it when cancelled.
    pub cancel: CancellationToken,
    /// Cancelled when this process was told to end. A program that the same signal ended counts as
    /// [`Stop::Cancelled`].
    pub stopping: CancellationToken,
    /// Gets each line of output as it arrives (cut to 8 KiB, lossy UTF-8); `None` throws lines away.
    pub lines: Option<mpsc::Sender<String>>,
}

/// Runs an untrusted program (agent, setup, tests) under a supervisor that ends every descendant, daemonised ones too.
///
/// The program gets one variable besides `program.env`: `PATCHWRIGHT_RUN`, random for each run, by which its processes
/// are found even after it has killed the supervisor; then it counts as killed by that signal, and so does one whose
/// processes the supervisor could not end. It has no controlling
/// terminal, cannot gain rights by set-user-id programs, and cannot write a file larger than `limits.disk`. The future may be
/// dropped at any time; the supervisor then ends the tree on its own.
///
/// # Errors
/// Only where the program could not be started; time-outs and the like are in the report.
pub async fn run_untrusted(program: &Program, terms: &Terms) -> Result<Report, ProcessError> {
    untrusted::run(program, terms).await
}

/// The executable of this very process, for [`Terms::supervisor`]: it stays the same file when an upgrade puts another one
/// in its place, since the kernel resolves it in the child to the file that the child was forked from.
#[must_use]
pub fn this_executable() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The terms under which a trusted tool runs.
#[derive(Debug)]
pub struct ToolTerms<'a> {
    /// The `patchwright` executable, which is started again as the tool's keeper.
    pub supervisor: &'a Path,
    /// Ends it after this long.
    pub timeout: Duration,
    /// Ends it when cancelled.
    pub cancel: &'a CancellationToken,
    /// A file whose lock lasts until the tool and all that it started are gone, even if we are gone before.
    pub holds: Option<File>,
}

/// What a trusted tool printed.
#[derive(Clone, Debug)]
pub struct ToolOutput {
    /// How it ended.
    pub ended: Ended,
    /// Standard output, whole.
    pub stdout: Vec<u8>,
    /// Standard error, its last 64 KiB, lossy UTF-8.
    pub stderr: String,
}

/// Runs a trusted tool (`git`) under a keeper that ends it and everything that it started, and collects its output.
/// `program.stdin` is not used. More than 256 MiB on standard output ends it with [`Stop::Output`]. The future may be
/// dropped, and this process killed, at any time; the keeper then ends the tool on its own.
///
/// # Errors
/// Where the tool could not be started.
pub async fn run_tool(program: &Program, terms: ToolTerms<'_>) -> Result<ToolOutput, ProcessError> {
    tool::run(program, terms).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_a_log_shows_no_value_of_a_variable_and_no_input() {
        let program = Program {
            argv: vec!["agent".into(), "--fast".into()],
            dir: "/work".into(),
            env: [("API_KEY".to_owned(), "canary-1".to_owned())].into(),
            stdin: b"canary-2".to_vec(),
        };
        let shown = r#"Program { argv: ["agent", "--fast"], dir: "/work", env: ["API_KEY"], stdin: 8 bytes }"#;
        assert_eq!(format!("{program:?}"), shown);
    }
}
