//! The commands for people.
//!
//! Invariant: results go to standard output, logs and errors to standard error; an error says what to do next, and the
//! exit code is 0 for done, 1 for failed, 2 for a mistake in the command or the configuration. `doctor` answers with 1 to
//! such a mistake too: finding it was its work.

pub mod demo;
pub mod doctor;
pub mod init;
pub mod jobs;
pub mod live;
pub mod prompt;
pub mod run;
pub mod screen;
pub mod serve;
pub mod setup;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::environment::Environment;
use crate::telemetry::{self, LogFormat};
use screen::Screen;

/// Turns a production alert into a tested draft pull request that a person reviews and merges.
#[derive(Debug, Parser)]
#[command(name = "patchwright", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Configuration file. Default: `patchwright.toml` in the current folder, if it is there. [env: PATCHWRIGHT_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, over the file and the environment, such as `--set worker.count=4`.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// What is logged: a level or a `tracing` filter. Default: `info` for `serve`, `warn` for the rest. [env: PATCHWRIGHT_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Log lines as JSON.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive alerts and work on them.
    Serve(serve::Args),
    /// Do one job in the foreground, with live output.
    Run(run::Args),
    /// Print the prompt that an agent would get, and spend nothing.
    Prompt(prompt::Args),
    /// List, show, cancel or retry jobs.
    Jobs(jobs::Args),
    /// Write a commented patchwright.toml.
    Init(init::Args),
    /// Check everything that can be wrong, and say how to mend it.
    Doctor(doctor::Args),
    /// See the whole path on a sample repository: no account, no network.
    Demo(demo::Args),
}

/// How a command ends when it does not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A mistake in the command or the configuration; the text says which.
    #[error("{0}")]
    Usage(String),
    /// Everything else.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
    /// The command did its work and the answer is "no"; it has said so itself.
    #[error("")]
    Negative,
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What every command starts from.
#[derive(Debug)]
pub struct Start {
    /// The configuration file that was asked for.
    pub config: Option<PathBuf>,
    /// `--set` pairs.
    pub set: Vec<(String, String)>,
    /// The environment.
    pub environment: Environment,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::of_process();
    let default_log = if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" };
    let filter = cli.log.as_deref().or_else(|| environment.get("PATCHWRIGHT_LOG")).unwrap_or(default_log);
    let format = if cli.log_json { LogFormat::Json } else { LogFormat::Text };
    telemetry::start(filter, format, environment.wants_colours());
    let start = Start { config: cli.config, set: cli.set, environment };
    let mut screen = Screen::standard(&start.environment);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(threads()).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return screen.error(&format!("the runtime could not be started: {error}")),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(&start, args, &mut screen).await,
            Command::Run(args) => run::run(&start, args, &mut screen).await,
            Command::Prompt(args) => prompt::run(&start, args, &mut screen).await,
            Command::Jobs(args) => jobs::run(&start, args, &mut screen).await,
            Command::Init(args) => init::run(&args, &mut screen),
            Command::Doctor(args) => doctor::run(&start, args, &mut screen).await,
            Command::Demo(args) => demo::run(&start, args, &mut screen).await,
        }
    });
    // A thread that still waits for a file must not keep the program from ending.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Negative) => ExitCode::from(1),
        Err(CliError::Usage(text)) => {
            screen.error(&text);
            ExitCode::from(2)
        }
        Err(CliError::Failed(error)) if screen::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(CliError::Failed(error)) => screen.error(&format!("{error:#}")),
    }
}

/// The load is in child processes; a few threads keep the idle service small.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as `worker.count=4`".to_owned()),
    }
}
