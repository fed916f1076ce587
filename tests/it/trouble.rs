//! What goes wrong around a run without anybody's wish: floods, a database that is busy, full or another one, defects of ours.
//!
//! Invariant: one job in trouble costs neither the other jobs nor the receiver anything, and no paid work is lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use patchwright::alert::{Alert, Reason};
use patchwright::forge::{
    Access, Forge, ForgeError, NewPullRequest, Placed, PullRequest, Remote, RepositoryId, RepositoryInfo,
};
use patchwright::job::{Job, Stage, State};
use patchwright::outcome::Outcome;
use patchwright::redact::Redacted;
use patchwright::store::{Intent, NewDelivery};
use patchwright::worker;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::held::Held;
use crate::intake::server::Recorder;
use crate::program::{Described, FIXER, alert, eventually};

fn is_opened(job: &Job) -> bool {
    matches!(job.outcome, Some(Outcome::Opened { .. }))
}

#[tokio::test]
async fn two_flooding_agents_hold_up_neither_the_receiver_nor_their_own_leases() {
    let flood = "python3 -c \"for n in range(4000): print(n, 'a bc def ' * 1000)\"";
    let config = "[worker]\nlease = \"3s\"\ncount = 2\nper_repository = 2";
    let service = Described::with_agent(&format!("{flood}\n{FIXER}")).config(config).start().await;
    let jobs = [
        service.post("event_alert", &alert("501", "0")).await.job(),
        service.post("event_alert", &alert("502", "0")).await.job(),
    ];
    let mut number = 0;
    let all_done = eventually(async || {
        number += 1;
        let answer = service.post("event_alert", &alert("501", &number.to_string())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for job in jobs {
            (service.job(job).await.state == State::Done).then_some(())?;
        }
        Some(())
    });
    assert!(all_done.await.is_some(), "{}", service.log());
    for job in jobs {
        let job = service.done(job).await;
        assert!(is_opened(&job) && job.runs == 1, "{:?} after {} runs:\n{}", job.outcome, job.runs, service.log());
        let output: usize = service.events(job.id).await.iter().map(|event| event.text.len()).sum();
        assert!(output < 3 << 20, "{output} bytes are kept");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_at_once_is_not_lost() {
    let held = Held::new();
    held.go();
    let service = Described::with_agent(&held.agent()).start().await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON saved_points WHEN new.name = 'fix'
                BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
    sqlx::query(full).execute(&mut service.raw().await).await.unwrap();
    let job = service.post("event_alert", &alert("503", "rule")).await.job();
    service.logged("could not be kept; trying again").await;
    sqlx::query("DROP TRIGGER full").execute(&mut service.raw().await).await.unwrap();
    let job = service.done(job).await;
    assert!(is_opened(&job), "{:?}", job.outcome);
    assert_eq!((job.runs, held.times("agent")), (1, 1), "{}", service.log());
}

#[tokio::test]
async fn a_database_that_is_locked_when_the_agent_ends_costs_nothing() {
    let held = Held::new();
    let service = Described::with_agent(&held.agent()).start().await;
    let job = service.post("event_alert", &alert("504", "rule")).await.job();
    held.reached("agent", 1).await;
    let mut other = service.raw().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    held.go();
    held.all_processes_are_gone().await;
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let job = service.done(job).await;
    assert!(is_opened(&job), "{:?}", job.outcome);
    assert_eq!((job.runs, held.times("agent")), (1, 1), "{}", service.log());
}

#[tokio::test]
async fn a_service_with_another_database_does_not_start_on_the_same_folder() {
    let held = Held::new();
    let service = Described::with_agent(&held.agent()).start().await;
    let job = service.post("event_alert", &alert("505", "rule")).await.job();
    held.reached("agent", 1).await;
    let other = format!("sqlite:{}", service.folder().join("other.db").display());
    for command in ["serve", "doctor"] {
        let output = service.command(&[command]).env("DATABASE_URL", &other).output().await.unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && text.contains("belongs to another database"), "{text}");
        assert!(text.contains("`data_dir` of its own") && text.contains("database-id"), "{text}");
    }
    held.go();
    assert!(is_opened(&service.done(job).await));
}

#[tokio::test]
async fn commits_of_a_lost_database_are_known_again_though_numbers_of_jobs_start_anew() {
    let mut service = Described::with_agent(FIXER).start().await;
    assert!(is_opened(&service.work("506").await));
    assert!(service.terminate().await);
    for name in ["patchwright.db", "database-id"] {
        std::fs::remove_file(service.folder().join("data").join(name)).unwrap();
    }
    service.start().await;
    assert!(is_opened(&service.work("507").await));
    // Its branch is there with a commit that only the mirror remembers as ours.
    let again = service.work("506").await;
    assert!(is_opened(&again), "{:?}", again.outcome);
    assert_eq!(service.pull_requests().len(), 2);
}

#[tokio::test]
async fn a_look_at_the_jobs_leaves_one_file_and_shows_what_cannot_be_read() {
    let mut service = Described::with_agent("true").start().await;
    service.work("508").await;
    service.work("509").await;
    let broken = "UPDATE jobs SET alert = '{}' WHERE id = 1";
    sqlx::query(broken).execute(&mut service.raw().await).await.unwrap();
    assert!(service.terminate().await);
    let output = service.run(&["jobs", "list"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("#509") && text.contains("row with id 1"), "{text}");
    for companion in ["data/patchwright.db-wal", "data/patchwright.db-shm"] {
        assert!(!service.folder().join(companion).exists(), "{companion}");
    }
}

/// A defect of ours, wherever it is asked something.
#[derive(Debug)]
struct Defect;

#[async_trait]
impl Forge for Defect {
    fn name(&self) -> &'static str {
        "a defect"
    }
    async fn access(&self) -> Result<Access, ForgeError> {
        unreachable!()
    }
    async fn repository(&self, _: &RepositoryId) -> Result<RepositoryInfo, ForgeError> {
        unreachable!()
    }
    async fn remote(&self, _: &RepositoryId) -> Result<Remote, ForgeError> {
        unreachable!()
    }
    async fn find_pull_request(&self, _: &RepositoryId, _: &str) -> Result<Option<PullRequest>, ForgeError> {
        unreachable!()
    }
    async fn pull_request(&self, _: &RepositoryId, _: u64) -> Result<PullRequest, ForgeError> {
        unreachable!()
    }
    async fn open_pull_request(&self, _: &RepositoryId, _: &NewPullRequest) -> Result<Placed, ForgeError> {
        unreachable!()
    }
    async fn rewrite_pull_request(
        &self,
        _: &RepositoryId,
        _: u64,
        _: &Redacted<String>,
        _: &Redacted<String>,
    ) -> Result<(), ForgeError> {
        unreachable!()
    }
    async fn decorate(&self, _: &RepositoryId, _: u64, _: &[String], _: &[String]) -> Vec<String> {
        unreachable!()
    }
}

#[tokio::test]
async fn a_panic_in_a_stage_ends_the_run_and_not_the_worker() {
    let service = Described::with_agent("true").config("[worker]\ncount = 1").prepare().await;
    let mut seams = service.seams().await;
    Arc::get_mut(&mut seams).unwrap().forge = Arc::new(Defect);
    let shutdown = CancellationToken::new();
    let workers = tokio::spawn(worker::run(Arc::clone(&seams), Arc::new(Notify::new()), shutdown.clone()));
    for issue in ["510", "511"] {
        let alert = Alert {
            source: "sentry".into(),
            org: "acme".into(),
            project: "web".into(),
            issue: issue.into(),
            reason: Reason::New,
            short_id: None,
            title: "DivisionByZero".into(),
            level: Some("error".into()),
            environment: Some("production".into()),
            release: None,
            event_id: None,
            web_url: None,
        };
        let delivery = NewDelivery {
            source: "sentry".into(),
            resource: "event_alert".into(),
            request_id: None,
            headers: Vec::new(),
            body: issue.as_bytes().to_vec(),
            verified_by: "env:X".into(),
        };
        let (repository, regression_window) = ("acme/web".to_owned(), Duration::ZERO);
        let intent = Intent::Work { alert: Box::new(alert), repository, regression_window };
        let accepted = seams.store.accept(delivery, intent).await.unwrap();
        let Outcome::Queued { job } = accepted.outcome else { panic!("{accepted:?}") };
        let job = service.done(job).await;
        let Some(Outcome::Failed { stage: Stage::Mirror, message }) = &job.outcome else { panic!("{:?}", job.outcome) };
        assert!(message.contains("ended unexpectedly"), "{message}");
    }
    shutdown.cancel();
    workers.await.unwrap();
}

#[tokio::test]
async fn a_worker_that_ends_by_itself_ends_them_all() {
    let service = Described::with_agent("true").prepare().await;
    let mut seams = service.seams().await;
    Arc::get_mut(&mut seams).unwrap().store = Arc::new(Recorder::new());
    let workers = worker::run(seams, Arc::new(Notify::new()), CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(60), workers).await.expect("it does not seem to work on");
}
