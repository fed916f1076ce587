//! Agents that do not come to a good end: they hang, flood, fork, crash, or are not there.
//!
//! Invariant: whichever limit is reached is named in the outcome, and the whole process tree is gone by then.

use patchwright::job::Stage;
use patchwright::outcome::Outcome;

use super::{fixer_before, published, refused};
use crate::program::Described;

fn limited(script: &str, limit: &str) -> Described {
    Described::with_agent(script).config(&format!("[limits.agent]\n{limit}"))
}

#[tokio::test]
async fn an_agent_that_never_ends_is_stopped_at_its_wall_time() {
    let sentence = refused(limited("while :; do echo working; sleep 0.1; done", "wall = \"1s\"")).await;
    assert_eq!(sentence, "no pull request: the agent did not finish: it was stopped after 1s");
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_stopped_as_silent() {
    let sentence = refused(limited("echo start; sleep 1000", "silence = \"1s\"")).await;
    assert_eq!(sentence, "no pull request: the agent did not finish: it was stopped after 1s without output");
}

#[tokio::test]
async fn an_agent_that_ignores_polite_signals_is_stopped_all_the_same() {
    let script = "trap '' TERM INT HUP; while :; do sleep 0.1; done";
    let sentence = refused(limited(script, "wall = \"1s\"")).await;
    assert!(sentence.ends_with("it was stopped after 1s"), "{sentence}");
}

#[tokio::test]
async fn a_flood_of_lines_ends_the_agent_and_is_not_kept_in_full() {
    let service = limited("yes a-line-of-a-flood", "output = \"4MiB\"").start().await;
    let job = service.work("1").await;
    let sentence = job.outcome.unwrap().to_string();
    assert!(sentence.ends_with("it was stopped after 4MiB of output"), "{sentence}");
    assert!(service.pull_requests().is_empty());
    let kept = service.history(job.id).await.len();
    assert!(kept < 4 << 20, "{kept} bytes of history are kept");
}

#[tokio::test]
async fn one_endless_line_ends_the_agent() {
    let sentence = refused(limited("tr '\\0' x </dev/zero", "output = \"1MiB\"")).await;
    assert!(sentence.ends_with("it was stopped after 1MiB of output"), "{sentence}");
}

#[tokio::test]
async fn an_agent_that_fills_the_disk_is_stopped() {
    let sentence = refused(limited("yes >one & yes >two & wait; sleep 1000", "disk = \"4MiB\"")).await;
    assert!(sentence.ends_with("it was stopped when its folder grew beyond 4MiB"), "{sentence}");
}

#[tokio::test]
async fn processes_that_fork_away_and_hide_their_environment_are_ended_with_the_agent() {
    let (service, job) = published(fixer_before(
        "setsid sleep 1001 </dev/null >/dev/null 2>&1 &\n\
         (setsid sh -c 'sleep 1002 & sleep 1003' </dev/null >/dev/null 2>&1 &)\n\
         setsid env -i \"$(command -v sleep)\" 1004 </dev/null >/dev/null 2>&1 &\n\
         nohup sleep 1005 >/dev/null 2>&1 &",
    ))
    .await;
    let history = service.history(job.id).await;
    assert!(history.contains("processes it left behind were ended"), "{history}");
}

#[tokio::test]
async fn a_process_that_holds_the_output_open_does_not_hold_the_job_up() {
    let (service, job) = published(fixer_before("sleep 1000 &")).await;
    let history = service.history(job.id).await;
    assert!(history.contains("1 processes it left behind were ended"), "{history}");
}

#[tokio::test]
async fn an_agent_that_kills_its_supervisor_has_failed() {
    let sentence = refused(fixer_before("setsid sleep 1000 & kill -9 $PPID; sleep 1000")).await;
    assert!(sentence.starts_with("no pull request: the agent did not finish: it was ended by signal 9"), "{sentence}");
}

#[tokio::test]
async fn an_agent_that_sheds_every_mark_and_kills_its_supervisor_leaves_nothing() {
    let hidden = "(setsid env -i PATH=\"$PATH\" sh -c 'trap \"\" TERM HUP; : > up; while :; do sleep 1000; done' \
                  </dev/null >/dev/null 2>&1 &)\n\
                  while [ ! -e up ]; do sleep 0.02; done; rm up; kill -9 $PPID; sleep 1000";
    let sentence = refused(fixer_before(hidden)).await;
    assert!(sentence.starts_with("no pull request: the agent did not finish: it was ended by signal 9"), "{sentence}");
}

#[tokio::test]
async fn a_crash_is_named_by_its_signal_and_nothing_of_it_is_published() {
    let sentence = refused(fixer_before("kill -SEGV $$")).await;
    assert_eq!(sentence, "no pull request: the agent did not finish: it was ended by signal 11, not by us");
}

#[tokio::test]
async fn a_bad_exit_code_without_a_result_is_a_failure_with_the_last_words() {
    let script = "echo 'echo 1' >> app.sh; echo 'the model quota is used up'; exit 7";
    let sentence = refused(Described::with_agent(script)).await;
    let expected = "no pull request: the agent did not finish: it ended with exit code 7 and left no result; its last \
                    words: the model quota is used up";
    assert_eq!(sentence, expected);
}

#[tokio::test]
async fn a_bad_exit_code_after_a_result_does_not_lose_the_fix() {
    let (service, job) = published(fixer_before("exit 3")).await;
    let history = service.history(job.id).await;
    assert!(history.contains("ended with exit code 3"), "{history}");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_a_failure_that_says_what_to_do() {
    let service = Described::with_agent("").command("[\"no-such-agent\", \"--fast\"]").start().await;
    let job = service.work("1").await;
    let Some(Outcome::Failed { stage: Stage::Agent, message }) = &job.outcome else { panic!("{:?}", job.outcome) };
    assert!(message.starts_with("agent `test`: the program `no-such-agent` was not found on PATH ("), "{message}");
    assert!(message.ends_with("; `patchwright doctor` checks it"), "{message}");
    assert!(service.pull_requests().is_empty());
}
