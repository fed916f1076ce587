//! Runs a repository's tests before and after a change, and says what that shows.
//!
//! Invariant: both runs use the same command and environment, each in a checkout of its own that no agent has touched;
//! what could not be run is never a verdict on the change.

pub mod detect;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::bare_environment;
use crate::config::CommandLine;
use crate::config::environment::Environment;
use crate::outcome::last_words;
use crate::process::{self, Ended, ProcessError, Program, Stop, Terms};
use crate::redact::Redactor;

/// The commands that prepare and test one repository.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TestPlan {
    /// Prepares a checkout; `None` where nothing is needed.
    pub setup: Option<CommandLine>,
    /// Runs the tests.
    pub test: CommandLine,
    /// Folder in the checkout in which both run.
    pub path: PathBuf,
    /// Names of variables of our own environment that both get.
    pub pass_env: Vec<String>,
}

/// What one run of the tests showed. Its text is redacted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TestRun {
    /// The command, as a person would type it.
    pub command: String,
    /// How it came out.
    pub result: TestResult,
    /// How long the test command took, in milliseconds.
    pub took_ms: u64,
    /// The last part of its output.
    pub tail: String,
}

/// How a run of the tests came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum TestResult {
    /// Exit code 0.
    Passed,
    /// Another exit code.
    Failed {
        /// The code.
        code: i32,
    },
    /// The tests did not run to their end: the setup failed, a limit was reached, the command is not there.
    Infrastructure {
        /// What happened.
        what: String,
    },
}

impl TestRun {
    /// Whether the tests passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.result == TestResult::Passed
    }

    /// The result in a few words.
    #[must_use]
    pub fn in_words(&self) -> String {
        match &self.result {
            TestResult::Passed => "passed".to_owned(),
            TestResult::Failed { code } => format!("failed with exit code {code}"),
            TestResult::Infrastructure { what } => format!("could not be run: {what}"),
        }
    }
}

/// What the two runs show together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "conclusion", rename_all = "snake_case")]
pub enum Conclusion {
    /// The tests pass with the change.
    Tested {
        /// Whether they passed before it too.
        passed_before: bool,
    },
    /// They do not, and a reviewer should not have to find out.
    Broken {
        /// What the runs showed.
        what: String,
    },
}

/// Judges a change by its two runs.
#[must_use]
pub fn conclude(before: &TestRun, after: &TestRun) -> Conclusion {
    match (&before.result, &after.result) {
        (_, TestResult::Passed) => Conclusion::Tested { passed_before: before.passed() },
        (TestResult::Passed, _) => Conclusion::Broken {
            what: format!("`{}` passed before the change and {} with it", after.command, after.in_words()),
        },
        // With exit codes alone, "still red" cannot be told from "red in one more place".
        _ => Conclusion::Broken {
            what: format!(
                "`{}` {} before the change and {} with it",
                after.command,
                before.in_words(),
                after.in_words()
            ),
        },
    }
}

/// Where and under which terms a run of the tests happens.
#[derive(Clone, Debug)]
pub struct Bench<'a> {
    /// The checkout, ours and fresh.
    pub checkout: &'a Path,
    /// A HOME of its own.
    pub home: &'a Path,
    /// A TMPDIR of its own.
    pub tmp: &'a Path,
    /// Our environment, from which little is passed on.
    pub environment: &'a Environment,
    /// Takes secrets out of what is kept.
    pub redactor: &'a Redactor,
    /// Limits, cancellation and live output.
    pub terms: &'a Terms,
}

/// Prepares the checkout and runs the tests in it once.
///
/// # Errors
/// Only when the run was cancelled; everything else is a result.
pub async fn run_tests(plan: &TestPlan, bench: &Bench<'_>) -> Result<TestRun, Cancelled> {
    if let Some(setup) = &plan.setup
        && let Some(what) = prepare(setup, plan, bench).await?
    {
        return Ok(infrastructure(plan, what, ""));
    }
    let report = match process::run_untrusted(&program(&plan.test, plan, bench), bench.terms).await {
        Ok(report) => report,
        Err(error) => return Ok(infrastructure(plan, not_started(&error), "")),
    };
    let tail = bench.redactor.text(&report.tail).into_inner();
    let result = match report.ended {
        Ended::Exit(0) => TestResult::Passed,
        // The shell's own words for "not executable" and "not found".
        Ended::Exit(code @ (126 | 127)) => {
            return Ok(infrastructure(plan, format!("the command could not be started (exit code {code})"), &tail));
        }
        Ended::Exit(code) => TestResult::Failed { code },
        Ended::Stopped(Stop::Cancelled) => return Err(Cancelled),
        other => return Ok(infrastructure(plan, other.to_string(), &tail)),
    };
    Ok(TestRun { command: plan.test.shown(), result, took_ms: millis(report.took), tail })
}

/// The run was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled;

/// Runs the setup command; answers what went wrong, if anything.
///
/// # Errors
/// When the run was cancelled.
pub async fn prepare(setup: &CommandLine, plan: &TestPlan, bench: &Bench<'_>) -> Result<Option<String>, Cancelled> {
    match process::run_untrusted(&program(setup, plan, bench), bench.terms).await {
        Ok(report) => match report.ended {
            Ended::Exit(0) => Ok(None),
            Ended::Stopped(Stop::Cancelled) => Err(Cancelled),
            ended => {
                let tail = bench.redactor.text(&report.tail).into_inner();
                Ok(Some(format!(
                    "the setup command `{}` {ended}; {}",
                    setup.shown(),
                    last_words(&last_lines(&tail, 10))
                )))
            }
        },
        Err(error) => Ok(Some(not_started(&error))),
    }
}

fn program(command: &CommandLine, plan: &TestPlan, bench: &Bench<'_>) -> Program {
    Program {
        argv: command.argv(),
        dir: bench.checkout.join(&plan.path),
        env: environment_for(plan, bench),
        stdin: Vec::new(),
    }
}

fn environment_for(plan: &TestPlan, bench: &Bench<'_>) -> BTreeMap<String, String> {
    let mut env = bare_environment(bench.environment, bench.home, bench.tmp);
    // Runners that watch files or ask questions do neither when this is set.
    env.insert("CI".to_owned(), "true".to_owned());
    for name in &plan.pass_env {
        if let Some(value) = bench.environment.get(name) {
            env.insert(name.clone(), value.to_owned());
        }
    }
    env
}

fn infrastructure(plan: &TestPlan, what: String, tail: &str) -> TestRun {
    TestRun {
        command: plan.test.shown(),
        result: TestResult::Infrastructure { what },
        took_ms: 0,
        tail: tail.to_owned(),
    }
}

fn not_started(error: &ProcessError) -> String {
    error.to_string()
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The last lines of an output, for a sentence.
#[must_use]
pub fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(result: TestResult) -> TestRun {
        TestRun { command: "pytest".into(), result, took_ms: 1, tail: String::new() }
    }

    #[test]
    fn only_a_green_run_with_the_change_counts() {
        let failed = || run(TestResult::Failed { code: 1 });
        let broken = || run(TestResult::Infrastructure { what: "no network".into() });
        let passed = || run(TestResult::Passed);
        assert_eq!(conclude(&passed(), &passed()), Conclusion::Tested { passed_before: true });
        assert_eq!(conclude(&failed(), &passed()), Conclusion::Tested { passed_before: false });
        for (before, after) in [(passed(), failed()), (failed(), failed()), (passed(), broken()), (broken(), broken())]
        {
            assert!(matches!(conclude(&before, &after), Conclusion::Broken { .. }));
        }
    }

    #[test]
    fn the_sentence_names_the_command_and_both_results() {
        let conclusion = conclude(&run(TestResult::Passed), &run(TestResult::Failed { code: 2 }));
        let Conclusion::Broken { what } = conclusion else { panic!("not broken") };
        assert_eq!(what, "`pytest` passed before the change and failed with exit code 2 with it");
    }
}
