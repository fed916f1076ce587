//! How the tests are run around an agent, and what their runs come to.
//!
//! Invariant: only a run of the tests is a verdict on a change; what kept them from running is not.

use patchwright::job::Stage;
use patchwright::outcome::Outcome;

use super::{fixer_after, published, refused};
use crate::program::{Described, FIXER};

#[tokio::test]
async fn a_setup_that_fails_after_the_change_does_not_cost_the_change() {
    let notes = tempfile::tempdir().unwrap();
    let note = |name: &str| notes.path().join(name).display().to_string();
    let service = fixer_after(&format!("touch {}; echo here >> {}", note("down"), note("runs")))
        .project(&format!("setup = \"test ! -e {} || {{ echo no route to the registry; exit 1; }}\"", note("down")))
        .config("[worker]\nmax_runs = 1")
        .start()
        .await;
    let job = service.work("1").await;
    let Some(Outcome::Failed { stage: Stage::Proof, message }) = &job.outcome else { panic!("{:?}", job.outcome) };
    assert!(message.contains("the tests of acme/web could not be run on the change: the setup command"), "{message}");
    assert!(message.contains("no route to the registry"), "{message}");

    std::fs::remove_file(note("down")).unwrap();
    assert!(service.run(&["jobs", "retry", &job.id.to_string()]).await.status.success());
    let job = service.done(job.id).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}", job.outcome);
    assert_eq!(std::fs::read_to_string(note("runs")).unwrap(), "here\n");
}

#[tokio::test]
async fn tests_that_reach_a_limit_with_the_change_do_not_pass() {
    let flood = fixer_after("echo 'yes too much' > tests/case_flood.sh").config("[limits.tests]\noutput = \"1MiB\"");
    let sentence = refused(flood).await;
    let expected = "no pull request: the tests do not pass with the change: acme/web: `sh tests/run.sh` passed before the \
                    change and was stopped after 1MiB of output with it; ";
    assert!(sentence.starts_with(expected), "{sentence}");
}

#[tokio::test]
async fn an_agent_that_deletes_the_only_test_has_not_made_it_pass() {
    let test = "import unittest\nclass T(unittest.TestCase):\n    def test_it(self): pass\n";
    let deleted = Described::with_agent("rm unit/test_it.py; touch unit/__init__.py; echo 'echo 7' > app.sh")
        .tests("python3 -m unittest discover -s unit")
        .file("unit/test_it.py", test);
    let sentence = refused(deleted).await;
    assert!(sentence.contains("passed before the change and failed with exit code 5 with it"), "{sentence}");
}

#[tokio::test]
async fn a_test_command_whose_tool_is_missing_is_found_out_before_the_agent_runs() {
    let service = fixer_after("").tests("echo 'python3: No module named pytest' >&2; exit 1").start().await;
    let job = service.work("1").await;
    let Some(Outcome::Failed { stage: Stage::Baseline, message }) = &job.outcome else { panic!("{:?}", job.outcome) };
    assert!(message.ends_with("its last words: python3: No module named pytest"), "{message}");
}

#[tokio::test]
async fn what_the_setup_puts_into_its_home_is_there_for_the_agent_and_the_tests() {
    let described = Described::with_agent(&format!("set -e; test \"$(cat \"$HOME/tool\")\" = mine\n{FIXER}"))
        .project("setup = \"echo mine > $HOME/tool\"")
        .tests("test -e \"$HOME/tool\" && sh tests/run.sh");
    published(described).await;
}
