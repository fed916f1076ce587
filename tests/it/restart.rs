//! `kill -9` at any moment: accepted alerts and paid work are still there, and there is never a second pull request.
//!
//! Invariant: a crash is a SIGKILL of the real program at a moment that the test has seen arrive, never after a guessed time.

use patchwright::job::{Job, JobId, Stage};
use patchwright::outcome::Outcome;
use patchwright::store::Store as _;
use rustix::process::Signal;

use crate::fake::github::Fault;
use crate::fake::sentry;
use crate::held::{Held, processes_naming};
use crate::program::{Described, FIXER, Running, Service, alert, eventually};

/// A lease that a busy machine does not make a service lose; the tests let time pass themselves.
const LEASE: &str = "[worker]\nlease = \"60s\"";
/// For a service that is frozen: it looks after its lease soon after it has thawed.
const SHORT_LEASE: &str = "[worker]\nlease = \"10s\"";
/// A lease for the service that takes over from a frozen one.
const LONG_LEASE: [&str; 2] = ["--set", "worker.lease=60s"];

/// A service on GitHub whose agent waits for a word.
fn with_held_agent(held: &Held) -> Described {
    Described::with_agent(&held.agent()).on_github().config(LEASE)
}

async fn posted(service: &Service, issue: &str) -> JobId {
    let answer = service.post("event_alert", &alert(issue, "rule")).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.job()
}

/// Kills the service, lets its leases run out and all held commands go on, starts it again, and waits for the one pull request.
async fn killed_and_started_again(service: &mut Service, held: &Held, job: JobId) -> Job {
    service.kill().await;
    held.all_processes_are_gone().await;
    held.go();
    service.time_passes().await;
    service.start().await;
    ends_as_one_pull_request(service, held, job).await
}

async fn ends_as_one_pull_request(service: &Service, held: &Held, job: JobId) -> Job {
    let job = service.done(job).await;
    assert!(
        matches!(&job.outcome, Some(Outcome::Opened { pull_requests }) if pull_requests.len() == 1),
        "{:?}\n{}",
        job.outcome,
        service.history(job.id).await
    );
    assert_eq!(service.github().pulls("acme/web").len(), 1);
    assert_eq!(service.store().await.deliveries(job.id, 1_000).await.unwrap().len(), 1);
    service.no_workspace_is_left().await;
    held.all_processes_are_gone().await;
    job
}

#[tokio::test]
async fn a_crash_in_triage_loses_nothing() {
    let held = Held::new();
    let mut service = with_held_agent(&held).start().await;
    held.go();
    let job = posted(&service, "201").await;
    ends_as_one_pull_request(&service, &held, job).await;
    // Only a job with a pull request asks the forge in triage.
    service.github().fail_next_at("GET", "/pulls/1", Fault::Hang);
    assert!(service.run(&["jobs", "retry", "1"]).await.status.success());
    service.asked_github("GET", "/pulls/1").await;
    assert_eq!(service.job(job).await.stage, Some(Stage::Triage));
    killed_and_started_again(&mut service, &held, job).await;
    assert_eq!(held.times("agent"), 1, "its change was saved");
}

#[tokio::test]
async fn a_crash_while_a_repository_is_fetched_loses_nothing() {
    let held = Held::new();
    let mut service = with_held_agent(&held).start().await;
    service.github().fail_next_at("GET", "/info/refs", Fault::Hang);
    let job = posted(&service, "202").await;
    service.asked_github("GET", "/info/refs").await;
    assert_eq!(service.job(job).await.stage, Some(Stage::Mirror));
    killed_and_started_again(&mut service, &held, job).await;
    assert_eq!(held.times("agent"), 1);
}

#[tokio::test]
async fn a_crash_while_evidence_is_gathered_loses_nothing() {
    let held = Held::new();
    let mut service = with_held_agent(&held).with_sentry().start().await;
    let tracker = service.sentry.as_ref().unwrap();
    tracker.issue("acme", "web", "203").short_id("WEB-203");
    tracker.fault("/issues/203/", 1, sentry::Fault::Hang);
    let job = posted(&service, "203").await;
    let asked = eventually(async || (service.sentry.as_ref()?.count("/issues/203/") > 0).then_some(())).await;
    assert!(asked.is_some(), "Sentry was not asked:\n{}", service.history(job).await);
    assert_eq!(service.job(job).await.stage, Some(Stage::Context));
    killed_and_started_again(&mut service, &held, job).await;
    assert!(service.history(job).await.contains("Sentry API: issue"), "the second run asked again");
    assert_eq!(held.times("agent"), 1);
}

#[tokio::test]
async fn a_crash_during_the_checkout_loses_nothing() {
    let held = Held::new();
    // A checkout cannot be held; the tests after it are, so that the agent has not run when the kill comes late.
    let tests = format!("{}; sh tests/run.sh", held.wait_here("tests"));
    let mut service = with_held_agent(&held).tests(&tests).start().await;
    let job = posted(&service, "204").await;
    service.entered(job, Stage::Checkout).await;
    killed_and_started_again(&mut service, &held, job).await;
    assert_eq!(held.times("agent"), 1);
}

#[tokio::test]
async fn a_crash_while_the_tests_run_on_the_old_code_loses_nothing() {
    let held = Held::new();
    let tests = format!("{}; sh tests/run.sh", held.wait_here("tests"));
    let mut service = with_held_agent(&held).tests(&tests).start().await;
    let job = posted(&service, "205").await;
    held.reached("tests", 1).await;
    assert_eq!(service.job(job).await.stage, Some(Stage::Baseline));
    assert!(!held.processes().is_empty(), "the tests can be found");
    killed_and_started_again(&mut service, &held, job).await;
    assert_eq!((held.times("agent"), held.times("tests")), (1, 3), "the tests ran before the crash, again, and after");
}

#[tokio::test]
async fn a_crash_while_the_prompt_is_written_loses_nothing() {
    let held = Held::new();
    let mut service = with_held_agent(&held).start().await;
    let job = posted(&service, "206").await;
    service.entered(job, Stage::Prompt).await;
    killed_and_started_again(&mut service, &held, job).await;
    assert!(service.history(job).await.contains("(earlier run)"), "the tests on the old code were not run again");
    // The prompt is written in an instant: the kill may have come when the agent had just started.
    assert!((1..=2).contains(&held.times("agent")), "{}", held.times("agent"));
}

#[tokio::test]
async fn a_crash_ends_the_agents_whole_process_tree_and_another_run_starts_it_again() {
    let held = Held::new();
    let mut service = with_held_agent(&held).start().await;
    let job = posted(&service, "207").await;
    held.reached("agent", 1).await;
    assert_eq!(service.job(job).await.stage, Some(Stage::Agent));
    let found = held.processes();
    assert!(found.iter().any(|line| line.contains("sleep 300")), "the agent's daemon is there: {found:#?}");
    let job = killed_and_started_again(&mut service, &held, job).await;
    assert_eq!((held.times("agent"), job.runs), (2, 2), "its change was not there yet");
}

#[tokio::test]
async fn a_crash_while_the_tests_run_on_the_change_does_not_run_the_agent_again() {
    let held = Held::new();
    let tests = format!("if [ -e tests/case_zero.sh ]; then {}; fi; sh tests/run.sh", held.wait_here("tests"));
    let mut service = Described::with_agent(&format!("echo here >> {}\n{FIXER}", held.note("agent").display()))
        .on_github()
        .config(LEASE)
        .tests(&tests)
        .start()
        .await;
    let job = posted(&service, "208").await;
    held.reached("tests", 1).await;
    assert_eq!(service.job(job).await.stage, Some(Stage::Proof));
    killed_and_started_again(&mut service, &held, job).await;
    assert_eq!((held.times("agent"), held.times("tests")), (1, 2));
}

/// Lets the job run until GitHub has carried out this request, or has it and does nothing; then crashes.
async fn crash_in_publish(issue: &str, method: &'static str, path_end: &str, fault: Fault) -> (Service, Held, Job) {
    let held = Held::new();
    held.go();
    let labels = "[publish]\nlabels = [\"patchwright\"]";
    let mut service = with_held_agent(&held).config(labels).start().await;
    let carried_out = matches!(fault, Fault::HangAfter);
    service.github().fail_next_at(method, path_end, fault);
    let job = posted(&service, issue).await;
    service.asked_github(method, path_end).await;
    if carried_out {
        let done = eventually(async || (service.github().carried_out_unanswered() > 0).then_some(())).await;
        assert!(done.is_some(), "{:?}", service.github().requests());
    }
    assert_eq!(service.job(job).await.stage, Some(Stage::Publish));
    let job = killed_and_started_again(&mut service, &held, job).await;
    assert_eq!(held.times("agent"), 1, "its change was saved");
    (service, held, job)
}

#[tokio::test]
async fn a_crash_after_the_push_and_before_the_pull_request_opens_one() {
    let (service, ..) = crash_in_publish("209", "POST", "/git-receive-pack", Fault::HangAfter).await;
    assert_eq!(service.github().pulls("acme/web")[0].labels, ["patchwright"]);
}

#[tokio::test]
async fn a_crash_in_a_push_ends_git_and_what_the_forge_makes_of_it_later_becomes_one_pull_request() {
    let held = Held::new();
    let mut service = Described::with_agent(FIXER).on_github().config(LEASE).start().await;
    service.repo.hook("pre-receive", &held.wait_here("push"));
    let job = posted(&service, "213").await;
    held.reached("push", 1).await;
    assert_eq!(service.job(job).await.stage, Some(Stage::Publish));
    let url = format!("{}/acme/web.git", service.github().api_url().trim_end_matches("/api/v3"));
    let pushes = || processes_naming(&url);
    assert!(!pushes().is_empty(), "the push can be found by {url}");
    service.kill().await;
    // It has our token in its environment.
    let gone = eventually(async || pushes().is_empty().then_some(())).await;
    assert!(gone.is_some(), "{:#?}", pushes());
    service.time_passes().await;
    service.start_with(&LONG_LEASE).await;
    // Both are at the forge now, and one of them will find the branch made by the other.
    held.reached("push", 2).await;
    held.go();
    ends_as_one_pull_request(&service, &held, job).await;
}

#[tokio::test]
async fn a_crash_when_the_pull_request_was_opened_unheard_opens_no_second_one() {
    let (service, ..) = crash_in_publish("210", "POST", "/pulls", Fault::HangAfter).await;
    assert_eq!(service.github().count("POST", "/pulls"), 1);
}

#[tokio::test]
async fn a_crash_when_the_connection_was_lost_after_the_pull_request_opens_no_second_one() {
    let (service, ..) = crash_in_publish("211", "POST", "/pulls", Fault::DropAfter).await;
    assert_eq!(service.github().count("POST", "/pulls"), 1);
}

#[tokio::test]
async fn a_crash_after_the_pull_request_ends_with_the_same_one() {
    let (service, _held, job) = crash_in_publish("212", "POST", "/labels", Fault::Hang).await;
    let Some(Outcome::Opened { pull_requests }) = &job.outcome else { panic!("{:?}", job.outcome) };
    assert!(pull_requests[0].url.ends_with("/pull/1"), "{pull_requests:?}");
    assert_eq!(service.github().count("POST", "/pulls"), 1);
}

#[tokio::test]
async fn a_crash_while_the_text_is_brought_up_to_date_leaves_it_so_after_the_next_run() {
    let held = Held::new();
    held.go();
    let mut service = Described::with_agent(&held.counting_agent()).on_github().config(LEASE).start().await;
    let job = posted(&service, "213").await;
    service.done(job).await;
    service.github().fail_next_at("PATCH", "/pulls/1", Fault::Hang);
    assert!(service.run(&["jobs", "retry", &job.to_string(), "--fresh"]).await.status.success());
    service.asked_github("PATCH", "/pulls/1").await;
    killed_and_started_again(&mut service, &held, job).await;
    let body = service.github().pulls("acme/web")[0].body.clone();
    assert!(body.contains("this is run 2") && held.times("agent") == 2, "{body}");
}

#[tokio::test]
async fn a_crash_among_the_files_of_a_directory_forge_ends_with_one_pull_request() {
    let held = Held::new();
    held.go();
    let mut service = Described::with_agent(&held.agent()).config(LEASE).start().await;
    let job = posted(&service, "214").await;
    // The first of its files; the record, which makes it a pull request, is the last.
    let body = service.folder().join("forge/acme/web.pulls/1.md");
    assert!(eventually(async || body.exists().then_some(())).await.is_some());
    service.kill().await;
    service.time_passes().await;
    service.start_with(&LONG_LEASE).await;
    let job = service.done(job).await;
    assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}", job.outcome);
    assert_eq!((service.pull_requests().len(), held.times("agent")), (1, 1));
}

#[tokio::test]
async fn an_accepted_alert_survives_a_kill_right_after_the_answer() {
    let mut service =
        Described::with_agent("true").config(&format!("{LEASE}\nper_repository = 2\nmax_runs = 50")).start().await;
    let mut jobs = Vec::new();
    for issue in 300..310 {
        jobs.push(posted(&service, &issue.to_string()).await);
        service.kill().await;
        let store = service.store().await;
        let kept = store.deliveries(*jobs.last().unwrap(), 1_000).await.unwrap();
        assert!(
            kept.len() == 1 && String::from_utf8_lossy(&kept[0].body).contains(&format!("\"issue_id\":\"{issue}\""))
        );
        service.time_passes().await;
        service.start().await;
    }
    for job in jobs {
        let job = service.done(job).await;
        assert_eq!(job.outcome.as_ref().map(Outcome::name), Some("abstained"), "{:?}", job.outcome);
    }
    service.no_workspace_is_left().await;
}

#[tokio::test]
async fn two_services_on_one_database_run_each_job_once() {
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.agent()).on_github().config("[worker]\nper_repository = 4").start().await;
    let second = service.spawn().await;
    let mut jobs = Vec::new();
    for issue in 320..324 {
        jobs.push(posted(&service, &issue.to_string()).await);
    }
    let mut runs = 0;
    for job in jobs {
        let job = service.done(job).await;
        assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}", job.outcome);
        runs += job.runs;
    }
    assert_eq!((runs, held.times("agent"), service.github().pulls("acme/web").len()), (4, 4, 4));
    drop(second);
}

/// Freezes the first service, and waits until a second one has taken its job over.
async fn frozen_and_taken_over(service: &Service, job: JobId) -> Running {
    service.running().signal(Signal::STOP);
    service.time_passes().await;
    let second = service.spawn_with(&LONG_LEASE).await;
    let taken = eventually(async || (service.job(job).await.runs == 2).then_some(())).await;
    assert!(taken.is_some(), "{}", service.history(job).await);
    second
}

#[tokio::test]
async fn a_service_that_was_frozen_during_its_agent_run_neither_pushes_nor_opens_a_pull_request() {
    let held = Held::new();
    let service = Described::with_agent(&held.agent()).on_github().config(SHORT_LEASE).start().await;
    let job = posted(&service, "330").await;
    held.reached("agent", 1).await;
    let _second = frozen_and_taken_over(&service, job).await;
    held.reached("agent", 2).await;
    held.go();
    let ended = service.done(job).await;
    assert!(matches!(ended.outcome, Some(Outcome::Opened { .. })), "{:?}", ended.outcome);
    let before = (service.repo.tip("patchwright/sentry-330"), service.events(job).await.len());
    service.running().signal(Signal::CONT);
    service.logged("the lease was lost").await;
    // The late one removes its workspace when it has let go of its run.
    ends_as_one_pull_request(&service, &held, job).await;
    let after = (service.repo.tip("patchwright/sentry-330"), service.events(job).await.len());
    assert_eq!(before, after, "the late one wrote nothing");
    assert_eq!(service.github().count("POST", "/git-receive-pack"), 1);
    assert_eq!(service.github().count("POST", "/pulls"), 1);
}

#[tokio::test]
async fn a_service_that_was_frozen_in_its_push_opens_no_pull_request() {
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.agent()).on_github().config(SHORT_LEASE).start().await;
    service.github().fail_next_at("POST", "/git-receive-pack", Fault::HangAfter);
    let job = posted(&service, "331").await;
    service.asked_github("POST", "/git-receive-pack").await;
    let _second = frozen_and_taken_over(&service, job).await;
    // Its git still holds the mirror; it is ended when the late one hears that its lease is lost.
    service.running().signal(Signal::CONT);
    ends_as_one_pull_request(&service, &held, job).await;
    assert_eq!((held.times("agent"), service.github().count("POST", "/pulls")), (1, 1));
}

#[tokio::test]
async fn a_service_that_was_frozen_goes_on_with_a_job_that_nobody_took() {
    let held = Held::new();
    let service = Described::with_agent(&held.agent()).on_github().config("[worker]\nlease = \"4s\"").start().await;
    let job = posted(&service, "332").await;
    held.reached("agent", 1).await;
    service.running().signal(Signal::STOP);
    let lease = "SELECT lease_until <= (SELECT now FROM clock) FROM jobs";
    service.becomes_true(lease).await;
    service.running().signal(Signal::CONT);
    service.becomes_true(&format!("SELECT NOT ({lease})")).await;
    held.go();
    let job = ends_as_one_pull_request(&service, &held, job).await;
    assert_eq!((job.runs, job.fence, held.times("agent")), (1, 1, 1), "{}", service.history(job.id).await);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_does_not_make_a_service_take_its_own_job_again() {
    let held = Held::new();
    let config = format!("{SHORT_LEASE}\nper_repository = 2");
    let service = Described::with_agent(&held.agent()).on_github().config(&config).start().await;
    let job = posted(&service, "333").await;
    held.reached("agent", 1).await;
    service.time_passes().await;
    // To start the second one, a worker has looked for what is due.
    let second = posted(&service, "334").await;
    held.reached("agent", 2).await;
    service.becomes_true("SELECT min(lease_until) > (SELECT now FROM clock) FROM jobs").await;
    held.go();
    for job in [job, second] {
        let job = service.done(job).await;
        assert!(matches!(job.outcome, Some(Outcome::Opened { .. })), "{:?}", job.outcome);
        assert_eq!((job.runs, job.fence), (1, 1), "{}", service.history(job.id).await);
    }
    assert_eq!(held.times("agent"), 2);
}
