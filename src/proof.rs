//! Runs a repository's tests before and after a change, and says what that shows.
//!
//! Invariant: both runs use the same command and environment, each in a checkout of its own that no agent has touched;
//! what could not be run is never a verdict on the change, and a run without a test is no success.

pub mod detect;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::bare_environment;
use crate::config::CommandLine;
use crate::config::environment::Environment;
use crate::outcome::last_words;
use crate::process::{self, Ended, Program, Stop, Terms};
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
    /// They ran until they reached a limit.
    Stopped {
        /// What is to be put after the command: "was stopped after 15m".
        what: String,
    },
    /// They did not run: the setup failed, the command could not be started, a signal ended it that was not ours.
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
            TestResult::Stopped { what } => what.clone(),
            TestResult::Infrastructure { what } => format!("could not be run: {what}"),
        }
    }

    /// Why this run says nothing about the code before a change; `None` where it does say something.
    #[must_use]
    pub fn why_not_run(&self) -> Option<String> {
        let why = match &self.result {
            TestResult::Passed => return None,
            TestResult::Infrastructure { what } => return Some(what.clone()),
            TestResult::Stopped { what } => what.clone(),
            // The shell's own words for "not executable" and "not found".
            TestResult::Failed { code: code @ (126 | 127) } => format!("could not be started (exit code {code})"),
            TestResult::Failed { .. } if NOT_INSTALLED.iter().any(|words| self.tail.contains(words)) => self.in_words(),
            TestResult::Failed { .. } => return None,
        };
        Some(format!("`{}` {why}; {}", self.command, last_words(&last_lines(&self.tail, 10))))
    }
}

/// What the commands that we find by ourselves print when their tool is not there, with an exit code like that of a
/// test that failed.
const NOT_INSTALLED: [&str; 2] = ["No module named pytest", "rustup could not choose a version of"];

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
    /// They could not be run, which says nothing about the change.
    Unclear {
        /// What was in the way.
        what: String,
    },
}

/// Judges a change by its two runs.
#[must_use]
pub fn conclude(before: &TestRun, after: &TestRun) -> Conclusion {
    match (&before.result, &after.result) {
        (_, TestResult::Passed) => Conclusion::Tested { passed_before: before.passed() },
        (_, TestResult::Infrastructure { what }) => Conclusion::Unclear { what: what.clone() },
        // A change that makes its tests hang or flood is broken, but only where they came to their end without it. The
        // same holds for a command that is not there any more.
        (TestResult::Passed, _) => Conclusion::Broken {
            what: format!("`{}` passed before the change and {} with it", after.command, after.in_words()),
        },
        _ => match before.why_not_run() {
            Some(what) => Conclusion::Unclear { what },
            // With exit codes alone, "still red" cannot be told from "red in one more place".
            None => Conclusion::Broken {
                what: format!(
                    "`{}` {} before the change and {} with it",
                    after.command,
                    before.in_words(),
                    after.in_words()
                ),
            },
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
        return Ok(not_run(plan, what));
    }
    let program = match program(&plan.test, plan, bench) {
        Ok(program) => program,
        Err(what) => return Ok(not_run(plan, what)),
    };
    let report = match process::run_untrusted(&program, bench.terms).await {
        Ok(report) => report,
        Err(error) => return Ok(not_run(plan, error.to_string())),
    };
    let tail = bench.redactor.text(&report.tail).into_inner();
    let result = match report.ended {
        Ended::Exit(0) if found_no_test(&plan.test, &tail) => TestResult::Failed { code: NO_TESTS },
        Ended::Exit(0) => TestResult::Passed,
        Ended::Exit(code) => TestResult::Failed { code },
        Ended::Stopped(Stop::Cancelled) => return Err(Cancelled),
        ended @ Ended::Stopped(_) => TestResult::Stopped { what: ended.to_string() },
        // Perhaps the machine had no memory left.
        ended @ Ended::Signal(_) => {
            let said = last_words(&last_lines(&tail, 10));
            TestResult::Infrastructure { what: format!("`{}` {ended}; {said}", plan.test.shown()) }
        }
    };
    Ok(TestRun { command: plan.test.shown(), result, took_ms: millis(report.took), tail })
}

/// The exit code of pytest, and of unittest since Python 3.12, for "there was no test".
const NO_TESTS: i32 = 5;

/// Whether this is the success of an older unittest that has found nothing to run.
fn found_no_test(test: &CommandLine, tail: &str) -> bool {
    let mut counts = tail.lines().filter_map(|line| line.strip_prefix("Ran ")?.split_once(" test")).peekable();
    test.shown().contains("unittest") && counts.peek().is_some() && counts.all(|(count, _)| count == "0")
}

/// The run was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled;

/// Runs the setup command; answers what went wrong, if anything.
///
/// # Errors
/// When the run was cancelled.
pub async fn prepare(setup: &CommandLine, plan: &TestPlan, bench: &Bench<'_>) -> Result<Option<String>, Cancelled> {
    let program = match program(setup, plan, bench) {
        Ok(program) => program,
        Err(what) => return Ok(Some(what)),
    };
    match process::run_untrusted(&program, bench.terms).await {
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
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// The folder of a checkout in which setup and tests run; `None` where there is none, or where a link leads out of the
/// checkout.
#[must_use]
pub fn folder_in(checkout: &Path, path: &Path) -> Option<PathBuf> {
    let folder = checkout.join(path);
    let inside = folder.canonicalize().ok()?.starts_with(checkout.canonicalize().ok()?);
    (inside && folder.is_dir()).then_some(folder)
}

fn program(command: &CommandLine, plan: &TestPlan, bench: &Bench<'_>) -> Result<Program, String> {
    let dir = folder_in(bench.checkout, &plan.path)
        .ok_or_else(|| format!("`path` is {}, which is no folder inside the checkout", plan.path.display()))?;
    Ok(Program { argv: command.argv(), dir, env: environment_for(plan, bench), stdin: Vec::new() })
}

fn environment_for(plan: &TestPlan, bench: &Bench<'_>) -> BTreeMap<String, String> {
    let mut env = bare_environment(bench.environment, bench.home, bench.tmp);
    for name in &plan.pass_env {
        if let Some(value) = bench.environment.get(name) {
            env.insert(name.clone(), value.to_owned());
        }
    }
    env
}

fn not_run(plan: &TestPlan, what: String) -> TestRun {
    let result = TestResult::Infrastructure { what };
    TestRun { command: plan.test.shown(), result, took_ms: 0, tail: String::new() }
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
    fn tests_run_in_no_folder_to_which_a_link_leads_out_of_the_checkout() {
        let outside = tempfile::tempdir().unwrap();
        let checkout = outside.path().join("checkout");
        std::fs::create_dir_all(checkout.join("part")).unwrap();
        for (link, to) in
            [("out", outside.path()), ("in", Path::new("part")), ("up", Path::new("..")), ("gone", Path::new("x"))]
        {
            std::os::unix::fs::symlink(to, checkout.join(link)).unwrap();
        }
        for (path, there) in [("", true), ("part", true), ("in", true), ("out", false), ("up", false), ("gone", false)]
        {
            assert_eq!(folder_in(&checkout, Path::new(path)), there.then(|| checkout.join(path)), "{path}");
        }
    }

    #[test]
    fn only_a_green_run_with_the_change_counts() {
        let failed = || run(TestResult::Failed { code: 1 });
        let stopped = || run(TestResult::Stopped { what: "was stopped after 15m".into() });
        let passed = || run(TestResult::Passed);
        assert_eq!(conclude(&passed(), &passed()), Conclusion::Tested { passed_before: true });
        assert_eq!(conclude(&failed(), &passed()), Conclusion::Tested { passed_before: false });
        for before in [passed(), failed()] {
            for after in [failed(), stopped(), run(TestResult::Failed { code: 127 })] {
                assert!(matches!(conclude(&before, &after), Conclusion::Broken { .. }), "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn what_could_not_be_run_is_no_verdict_on_the_change() {
        let broken = || run(TestResult::Infrastructure { what: "no network".into() });
        for before in [run(TestResult::Passed), run(TestResult::Failed { code: 1 }), broken()] {
            assert_eq!(conclude(&before, &broken()), Conclusion::Unclear { what: "no network".into() });
        }
        let stopped = run(TestResult::Stopped { what: "was stopped after 15m".into() });
        for before in [broken(), stopped.clone(), run(TestResult::Failed { code: 127 })] {
            for after in [stopped.clone(), run(TestResult::Failed { code: 1 })] {
                assert!(matches!(conclude(&before, &after), Conclusion::Unclear { .. }), "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn a_missing_tool_is_told_from_a_failing_test_with_the_command_and_its_last_words() {
        let why =
            |code, tail: &str| TestRun { tail: tail.to_owned(), ..run(TestResult::Failed { code }) }.why_not_run();
        assert_eq!(why(1, "1 failed"), None);
        let missing = "/usr/bin/python3: No module named pytest";
        assert_eq!(why(1, missing).unwrap(), format!("`pytest` failed with exit code 1; its last words: {missing}"));
        assert_eq!(why(127, "").unwrap(), "`pytest` could not be started (exit code 127); it printed nothing");
        let rustup =
            "error: rustup could not choose a version of cargo to run, because one wasn't specified explicitly";
        assert!(why(1, rustup).is_some());
    }

    #[test]
    fn a_unittest_that_found_nothing_has_not_passed() {
        let shell = |line: &str| CommandLine::Shell(line.to_owned());
        let none = "\n-----\nRan 0 tests in 0.000s\n\nOK\n";
        assert!(found_no_test(&shell("python3 -m unittest"), none));
        assert!(!found_no_test(&shell("make test"), none));
        assert!(!found_no_test(&shell("python3 -m unittest"), "Ran 1 test in 0.1s\n\nOK\nRan 0 tests in 0.0s\n\nOK\n"));
        assert!(!found_no_test(&shell("python3 -m unittest"), ""));
    }

    #[test]
    fn the_sentence_names_the_command_and_both_results() {
        let conclusion = conclude(&run(TestResult::Passed), &run(TestResult::Failed { code: 2 }));
        let Conclusion::Broken { what } = conclusion else { panic!("not broken") };
        assert_eq!(what, "`pytest` passed before the change and failed with exit code 2 with it");
    }
}
