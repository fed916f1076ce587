//! SIGTERM, `jobs cancel` and `jobs retry`: what runs is ended or finished, and nothing is done twice.
//!
//! Invariant: the service is told as its users tell it, by signals and by commands of another process.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use patchwright::job::{Job, JobId, Stage, State};
use patchwright::outcome::{Abstained, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fake::github::Fault;
use crate::held::Held;
use crate::program::{Described, SECRET, Service, alert, eventually};

/// What needs no time of its own is done within this, also on a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// The same for what comes with the next renewal of a lease.
const WHILE: Duration = Duration::from_secs(20);
/// Enough for everything.
const LONG_GRACE: &str = "[worker]\nshutdown_grace = \"10m\"";

async fn posted(service: &Service, issue: &str) -> JobId {
    let answer = service.post("event_alert", &alert(issue, "rule")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.job()
}

fn is_opened(job: &Job) -> bool {
    matches!(&job.outcome, Some(Outcome::Opened { pull_requests }) if pull_requests.len() == 1)
}

/// A service whose agent runs and waits for a word.
async fn with_running_agent(held: &Held, config: &str, issue: &str) -> (Service, JobId) {
    let service = Described::with_agent(&held.agent()).on_github().config(config).start().await;
    let job = posted(&service, issue).await;
    held.reached("agent", 1).await;
    (service, job)
}

#[tokio::test]
async fn an_idle_service_ends_soon_after_sigterm() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = Described::with_agent("true").start().await;
        let told = Instant::now();
        service.running().signal(signal);
        let status = service.ended().await;
        assert!(status.success() && told.elapsed() < SOON, "{status} after {:?}", told.elapsed());
    }
}

#[tokio::test]
async fn sigterm_waits_for_a_running_agent_within_the_grace() {
    let held = Held::new();
    let (mut service, job) = with_running_agent(&held, LONG_GRACE, "401").await;
    service.running().signal(Signal::TERM);
    no_longer_listening(&service).await;
    held.go();
    assert!(service.ended().await.success());
    let job = service.job(job).await;
    assert!(is_opened(&job) && job.runs == 1, "{job:?}");
    assert_eq!(service.github().pulls("acme/web").len(), 1);
    held.all_processes_are_gone().await;
}

#[tokio::test]
async fn sigterm_hands_back_what_does_not_end_within_the_grace_and_a_restart_finishes_it() {
    let held = Held::new();
    let (mut service, job) = with_running_agent(&held, "[worker]\nshutdown_grace = \"200ms\"", "402").await;
    assert!(service.terminate().await);
    assert_eq!(held.processes(), Vec::<String>::new(), "the tree ends before the service does");
    service.no_workspace_is_left().await;
    let handed_back = service.job(job).await;
    assert_eq!((handed_back.state, handed_back.runs), (State::Queued, 0), "the run does not count");
    held.go();
    service.start().await;
    let job = service.done(job).await;
    assert!(is_opened(&job) && job.runs == 1, "{job:?}");
    assert_eq!((held.times("agent"), service.github().pulls("acme/web").len()), (2, 1));
}

/// As systemd does it by default: every process of the service is told to end.
async fn everything_is_told_to_end(service: &mut Service, job: JobId) {
    service.running().signal_all(Signal::TERM);
    assert!(service.ended().await.success());
    let handed_back = service.job(job).await;
    let history = service.history(job).await;
    assert_eq!((handed_back.state, handed_back.runs), (State::Queued, 0), "{:?}\n{history}", handed_back.outcome);
}

#[tokio::test]
async fn a_signal_to_all_processes_while_the_agent_runs_hands_the_job_back() {
    let held = Held::new();
    let (mut service, job) = with_running_agent(&held, LONG_GRACE, "421").await;
    everything_is_told_to_end(&mut service, job).await;
    held.go();
    service.start().await;
    let job = service.done(job).await;
    assert!(is_opened(&job) && job.runs == 1, "{job:?}");
}

#[tokio::test]
async fn a_signal_to_all_processes_while_the_tests_run_hands_the_job_back() {
    let held = Held::new();
    let tests = format!("{}; sh tests/run.sh", held.wait_here("tests"));
    let described = Described::with_agent(&held.agent()).on_github().config(LONG_GRACE).tests(&tests);
    let mut service = described.start().await;
    let job = posted(&service, "422").await;
    held.reached("tests", 1).await;
    assert_eq!(service.job(job).await.stage, Some(Stage::Baseline));
    everything_is_told_to_end(&mut service, job).await;
    held.go();
    service.start().await;
    let job = service.done(job).await;
    assert!(is_opened(&job) && job.runs == 1, "{job:?}");
}

#[tokio::test]
async fn a_signal_to_all_processes_while_git_fetches_hands_the_job_back() {
    let described = Described::with_agent("true").on_github().config(LONG_GRACE);
    let mut service = described.start().await;
    service.github().fail_next_at("GET", "/info/refs", Fault::Hang);
    let job = posted(&service, "423").await;
    service.asked_github("GET", "/info/refs").await;
    everything_is_told_to_end(&mut service, job).await;
}

#[tokio::test]
async fn an_agent_that_tells_its_supervisor_to_end_gets_no_run_for_nothing() {
    let service = Described::with_agent("kill -TERM $PPID; sleep 300").start().await;
    let job = service.work("424").await;
    let Some(Outcome::Abstained { why: Abstained::AgentFailed { what } }) = &job.outcome else {
        panic!("{:?}", job.outcome)
    };
    assert!(what.contains("signal") && job.runs == 1, "{what}");
}

#[tokio::test]
async fn a_second_sigterm_ends_the_service_at_once_and_the_agent_with_it() {
    let held = Held::new();
    let (mut service, job) = with_running_agent(&held, LONG_GRACE, "403").await;
    service.running().signal(Signal::TERM);
    no_longer_listening(&service).await;
    let told = Instant::now();
    service.running().signal(Signal::TERM);
    let status = service.ended().await;
    assert!(status.code() == Some(1) && told.elapsed() < SOON, "{status} after {:?}", told.elapsed());
    held.all_processes_are_gone().await;
    held.go();
    service.time_passes().await;
    service.start().await;
    assert!(is_opened(&service.done(job).await));
    service.no_workspace_is_left().await;
}

#[tokio::test]
async fn signals_that_come_together_are_one_wish() {
    let mut service = Described::with_agent("true").start().await;
    // Both are there before it can act on either.
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        service.running().signal(signal);
    }
    assert!(service.ended().await.success());
}

#[tokio::test]
async fn a_hanging_forge_does_not_keep_the_service_from_ending() {
    let service = Described::with_agent("true").on_github().config("[worker]\nshutdown_grace = \"200ms\"");
    let mut service = service.start().await;
    service.github().fail_next_at("GET", "/repos/acme/web", Fault::Hang);
    let job = posted(&service, "404").await;
    service.asked_github("GET", "/repos/acme/web").await;
    let told = Instant::now();
    assert!(service.terminate().await);
    assert!(told.elapsed() < WHILE, "{:?}", told.elapsed());
    assert_eq!(service.job(job).await.state, State::Queued);
}

#[tokio::test]
async fn while_draining_an_open_request_is_answered_and_kept_and_a_new_one_is_refused() {
    let held = Held::new();
    let (mut service, job) = with_running_agent(&held, &format!("{LONG_GRACE}\nper_repository = 2"), "405").await;
    // Half a request is in the service's hands.
    let body = alert("406", "rule").to_string();
    let signature = patchwright::source::sentry::signature::sign(SECRET, body.as_bytes());
    let mut half = TcpStream::connect(service.running().address()).await.unwrap();
    let head = format!(
        "POST /webhooks/sentry HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Sentry-Hook-Resource: event_alert\r\nSentry-Hook-Signature: {signature}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    half.write_all(head.as_bytes()).await.unwrap();
    // The interim answer says that the head has been read.
    let mut interim = [0; 25];
    half.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    service.running().signal(Signal::TERM);
    no_longer_listening(&service).await;
    assert!(service.try_post("event_alert", &alert("407", "rule")).await.is_err());
    half.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");

    held.go();
    assert!(service.ended().await.success());
    assert!(is_opened(&service.job(job).await));
    service.start().await;
    assert!(is_opened(&service.done(JobId(job.0 + 1)).await), "the alert that was accepted while draining");
}

/// Waits until the service takes no connection any more.
async fn no_longer_listening(service: &Service) {
    let address = service.running().address().to_owned();
    let refused = eventually(async || TcpStream::connect(&address).await.is_err().then_some(())).await;
    assert!(refused.is_some(), "it still listens");
}

#[tokio::test]
async fn cancelling_a_running_job_ends_the_agent_and_removes_its_workspace() {
    let held = Held::new();
    let (service, job) = with_running_agent(&held, "[worker]\nlease = \"3s\"", "411").await;
    let told = Instant::now();
    let output = service.run(&["jobs", "cancel", &job.to_string()]).await;
    assert!(output.status.success(), "{output:?}");
    let job = service.done(job).await;
    assert_eq!(job.outcome, Some(Outcome::Cancelled));
    assert_eq!(held.processes(), Vec::<String>::new(), "the tree ends before the job does");
    service.no_workspace_is_left().await;
    assert!(told.elapsed() < WHILE, "{:?}", told.elapsed());
    assert!(service.github().pulls("acme/web").is_empty());

    held.go();
    assert!(service.run(&["jobs", "retry", &job.id.to_string()]).await.status.success());
    assert!(is_opened(&service.done(job.id).await));
    assert_eq!(held.times("agent"), 2, "its change was not there yet");
}

#[tokio::test]
async fn cancelling_works_while_the_forge_hangs() {
    // A worker hears of it when it renews its lease, every fifth of it.
    let service = Described::with_agent("true").on_github().config("[worker]\nlease = \"10s\"").start().await;
    service.github().fail_next_at("GET", "/repos/acme/web", Fault::Hang);
    let job = posted(&service, "412").await;
    service.asked_github("GET", "/repos/acme/web").await;
    let told = Instant::now();
    assert!(service.run(&["jobs", "cancel", &job.to_string()]).await.status.success());
    assert_eq!(service.done(job).await.outcome, Some(Outcome::Cancelled));
    assert!(told.elapsed() < WHILE, "{:?}", told.elapsed());
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_a_done_one_not_at_all() {
    let held = Held::new();
    let (service, first) = with_running_agent(&held, "", "413").await;
    // One job at a time for one repository: this one waits.
    let second = posted(&service, "414").await;
    let output = service.run(&["jobs", "cancel", &second.to_string()]).await;
    assert!(output.status.success(), "{output:?}");
    let cancelled = service.job(second).await;
    assert_eq!((cancelled.state, cancelled.outcome, cancelled.runs), (State::Done, Some(Outcome::Cancelled), 0));

    let output = service.run(&["jobs", "cancel", &second.to_string()]).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(&format!("job {second} is done")) && error.contains("nothing to stop"), "{error}");
    held.go();
    assert!(is_opened(&service.done(first).await));
}

#[tokio::test]
async fn retrying_an_abstained_job_goes_on_from_the_saved_change() {
    let held = Held::new();
    held.go();
    let better = held.note("better");
    let tests =
        format!("if [ -e tests/case_zero.sh ]; then [ -e {} ] || exit 1; fi; sh tests/run.sh", better.display());
    let service = Described::with_agent(&held.agent()).on_github().tests(&tests).start().await;
    let job = service.done(posted(&service, "415").await).await;
    assert!(
        matches!(job.outcome, Some(Outcome::Abstained { why: Abstained::TestsFailed { .. } })),
        "{:?}",
        job.outcome
    );
    std::fs::write(better, "").unwrap();
    assert!(service.run(&["jobs", "retry", &job.id.to_string()]).await.status.success());
    let job = service.done(job.id).await;
    assert!(is_opened(&job), "{:?}", job.outcome);
    assert_eq!(held.times("agent"), 1);
}

#[tokio::test]
async fn a_saved_change_that_the_mirror_no_longer_holds_is_made_again() {
    let held = Held::new();
    held.go();
    let better = held.note("better");
    let tests =
        format!("if [ -e tests/case_zero.sh ]; then [ -e {} ] || exit 1; fi; sh tests/run.sh", better.display());
    let service = Described::with_agent(&held.agent()).on_github().tests(&tests).start().await;
    let job = service.done(posted(&service, "418").await).await;
    assert!(matches!(job.outcome, Some(Outcome::Abstained { .. })), "{:?}", job.outcome);
    std::fs::write(better, "").unwrap();
    std::fs::remove_dir_all(service.folder().join("data/mirrors")).unwrap();
    assert!(service.run(&["jobs", "retry", &job.id.to_string()]).await.status.success());
    let job = service.done(job.id).await;
    let history = service.history(job.id).await;
    assert!(is_opened(&job), "{:?}\n{history}", job.outcome);
    assert_eq!(held.times("agent"), 2, "{history}");
    let told = history.matches("the mirror of acme/web does not hold the earlier run's change").count();
    assert_eq!(told, 1, "{history}");
}

#[tokio::test]
async fn retrying_a_failed_job_goes_on_from_the_saved_change_and_its_proof() {
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.agent())
        .on_github()
        .tests(&format!("echo here >> {}; sh tests/run.sh", held.note("tests").display()))
        .start()
        .await;
    service.github().fail_next_at("POST", "/pulls", Fault::message(403, "Resource not accessible by integration"));
    let job = service.done(posted(&service, "416").await).await;
    let Some(Outcome::Failed { stage: Stage::Publish, message }) = &job.outcome else { panic!("{:?}", job.outcome) };
    assert!(message.contains("Resource not accessible by integration"), "{message}");
    assert!(service.run(&["jobs", "retry", &job.id.to_string()]).await.status.success());
    let job = service.done(job.id).await;
    assert!(is_opened(&job), "{:?}", job.outcome);
    assert_eq!((held.times("agent"), held.times("tests")), (1, 2), "once before and once after the change");
}

#[tokio::test]
async fn a_fresh_retry_runs_the_agent_again_and_updates_the_same_pull_request() {
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.agent()).on_github().start().await;
    let job = service.done(posted(&service, "417").await).await;
    assert!(is_opened(&job), "{:?}", job.outcome);
    let before = service.github().pulls("acme/web");
    assert!(service.run(&["jobs", "retry", "--fresh", &job.id.to_string()]).await.status.success());
    let job = service.done(job.id).await;
    assert!(is_opened(&job), "{:?}", job.outcome);
    let after = service.github().pulls("acme/web");
    assert_eq!((before.len(), after.len(), held.times("agent")), (1, 1, 2));
    assert_eq!((before[0].number, &before[0].branch), (after[0].number, &after[0].branch));
    assert_ne!(before[0].head, after[0].head, "the branch has the second run's change");
    assert_eq!(service.repo.tip(&after[0].branch), Some(after[0].head.clone()));
    assert_eq!(service.github().count("POST", "/pulls"), 1);
}

/// A `patchwright run` whose agent works and waits for a word, without a service.
async fn with_running_command(held: &Held) -> (Service, tokio::process::Child) {
    let service = Described::with_agent(&held.agent()).on_github().prepare().await;
    std::fs::write(service.folder().join("alert.json"), alert("421", "rule").to_string()).unwrap();
    let mut command = service.command(&["run", "alert.json"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    held.reached("agent", 1).await;
    (service, child)
}

fn send(child: &tokio::process::Child, signal: Signal) {
    let pid = i32::try_from(child.id().expect("it runs")).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

async fn output_of(child: tokio::process::Child) -> (Output, String) {
    let output =
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.expect("it ends").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[tokio::test]
async fn ctrl_c_on_a_run_cancels_its_job_and_a_service_beside_it_does_not_do_it_again() {
    let held = Held::new();
    let (mut service, child) = with_running_command(&held).await;
    service.start().await;
    send(&child, Signal::INT);
    let (output, text) = output_of(child).await;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("job 1 is cancelled, and `patchwright jobs retry 1` queues it again"), "{text}");
    let job = service.job(JobId(1)).await;
    assert_eq!((job.state, job.outcome), (State::Done, Some(Outcome::Cancelled)));
    assert_eq!(held.processes(), Vec::<String>::new(), "the tree ends before the command does");
    assert!(!service.history(JobId(1)).await.contains("goes on at"), "it does not go on");

    held.go();
    assert!(service.run(&["jobs", "retry", "1"]).await.status.success());
    assert!(is_opened(&service.done(JobId(1)).await));
}

#[tokio::test]
async fn sigterm_on_a_run_hands_its_job_back() {
    let held = Held::new();
    let (service, child) = with_running_command(&held).await;
    send(&child, Signal::TERM);
    let (output, text) = output_of(child).await;
    assert!(output.status.code() == Some(1) && text.contains("job 1 is handed back"), "{text}");
    let job = service.job(JobId(1)).await;
    assert_eq!((job.state, job.runs), (State::Queued, 0), "the run does not count");
}

#[tokio::test]
async fn signals_to_a_run_that_come_together_are_one_wish() {
    let held = Held::new();
    let (service, child) = with_running_command(&held).await;
    send(&child, Signal::TERM);
    send(&child, Signal::INT);
    let (output, text) = output_of(child).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("stopping; job 1") && !error.contains("stopped at once"), "{text}{error}");
    assert_ne!(service.job(JobId(1)).await.state, State::Running);
}

#[tokio::test]
async fn a_job_whose_worker_died_is_cancelled_and_queued_again_without_a_service() {
    let held = Held::new();
    let config = "[worker]\nlease = \"3s\"";
    let (mut service, job) = with_running_agent(&held, config, "422").await;
    service.kill().await;
    let cancel = async || {
        let output = service.run(&["jobs", "cancel", &job.to_string()]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("is cancelled") || text.contains("cancel the job again in 3s"), "{output:?}");
        text.contains("is cancelled").then_some(())
    };
    assert!(crate::program::eventually(cancel).await.is_some(), "its lease does not run out");
    assert!(service.run(&["jobs", "retry", &job.to_string()]).await.status.success());
    assert_eq!(service.job(job).await.state, State::Queued);
}

#[tokio::test]
async fn a_job_is_followed_to_its_end() {
    let held = Held::new();
    let (service, job) = with_running_agent(&held, "", "423").await;
    let mut command = service.command(&["jobs", "show", "--follow", &job.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    while !seen.contains("▸ agent") {
        seen += &lines.next_line().await.unwrap().expect("it goes on until the end");
    }
    held.go();
    while let Some(line) = lines.next_line().await.unwrap() {
        seen += &line;
    }
    assert!(seen.contains("■ opened draft pull request"), "{seen}");
    assert!(child.wait().await.unwrap().success());
}
