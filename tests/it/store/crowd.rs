//! Contracts about many callers at once, and about callers that go away in the middle.
//!
//! Invariant: what each caller was told is what the store holds in the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use patchwright::alert::Reason;
use patchwright::job::State;
use patchwright::outcome::Outcome;
use patchwright::store::Claim;
use tokio::task::JoinSet;

use super::given::*;

contracts! {
    a_hundred_alerts_at_once_for_one_issue_make_one_job
    the_same_bytes_a_hundred_times_at_once_are_one_delivery
    eight_workers_share_the_jobs_without_doing_one_twice
    a_delivery_is_whole_or_absent_when_its_sender_hangs_up
}

async fn a_hundred_alerts_at_once_for_one_issue_make_one_job(database: &dyn Database) {
    let store = database.open().await;
    let mut posts = JoinSet::new();
    for _ in 0..100 {
        let store = Arc::clone(&store);
        posts.spawn(async move { accept(&*store, work(alert("1", Reason::New))).await });
    }
    let accepted = posts.join_all().await;
    let jobs = jobs(&*store, None, 10).await;
    assert_eq!(jobs.len(), 1);
    let job = jobs[0].id;
    assert_eq!(accepted.iter().filter(|a| a.outcome == Outcome::Queued { job }).count(), 1);
    assert_eq!(accepted.iter().filter(|a| a.outcome == Outcome::Attached { job }).count(), 99);
    assert_eq!(store.deliveries(job, 1_000).await.unwrap().len(), 100);
}

async fn the_same_bytes_a_hundred_times_at_once_are_one_delivery(database: &dyn Database) {
    let store = database.open().await;
    let mut posts = JoinSet::new();
    for _ in 0..100 {
        let store = Arc::clone(&store);
        posts.spawn(async move { store.accept(delivery_of(b"{}"), work(alert("1", Reason::New))).await.unwrap() });
    }
    let accepted = posts.join_all().await;
    assert_eq!(accepted.iter().filter(|a| matches!(a.outcome, Outcome::Queued { .. })).count(), 1);
    assert!(accepted.iter().all(|a| a.delivery == accepted[0].delivery));
}

async fn eight_workers_share_the_jobs_without_doing_one_twice(database: &dyn Database) {
    const JOBS: u32 = 200;
    const REPOSITORIES: u32 = 5;
    let store = database.open().await;
    for issue in 0..JOBS {
        // In runs of one repository, the order in which a limit per repository is hardest to keep.
        let repository = format!("acme/{}", issue * REPOSITORIES / JOBS);
        queued_in(&*store, &repository, &issue.to_string()).await;
    }

    /// What the workers see: jobs running per repository, the most that ever were, and who was done how often.
    #[derive(Default)]
    struct Seen {
        running: HashMap<u32, usize>,
        most: usize,
        done: HashMap<String, u32>,
    }
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let (store, seen) = (Arc::clone(&store), Arc::clone(&seen));
        workers.spawn(async move {
            let claim = Claim { owner: format!("worker-{worker}"), per_repository: 2, ..claim() };
            while seen.lock().unwrap().done.len() < JOBS as usize {
                let Some((job, lease)) = store.claim(&claim).await.unwrap() else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let repository = job.key.issue.parse::<u32>().unwrap() * REPOSITORIES / JOBS;
                {
                    let mut seen = seen.lock().unwrap();
                    let running = seen.running.entry(repository).or_default();
                    *running += 1;
                    let running = *running;
                    seen.most = seen.most.max(running);
                }
                store.record(&lease, &[line("working")]).await.unwrap();
                {
                    let mut seen = seen.lock().unwrap();
                    *seen.running.entry(repository).or_default() -= 1;
                    *seen.done.entry(job.key.issue).or_default() += 1;
                }
                store.finish(&lease, &clean(&opened())).await.unwrap();
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(60), workers.join_all()).await.expect("every job was done");

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.done.len(), JOBS as usize);
    assert!(seen.done.values().all(|times| *times == 1));
    assert_eq!(seen.most, 2);
    let jobs = jobs(&*store, Some(State::Done), 1_000).await;
    assert!(jobs.len() == JOBS as usize && jobs.iter().all(|job| job.runs == 1 && job.fence == 1));
}

async fn a_delivery_is_whole_or_absent_when_its_sender_hangs_up(database: &dyn Database) {
    let store = database.open().await;
    for issue in 0..100_u32 {
        let (sender, intent) = (Arc::clone(&store), work(alert(&issue.to_string(), Reason::New)));
        let post = tokio::spawn(async move { sender.accept(delivery(), intent).await });
        for _ in 0..issue % 12 {
            tokio::task::yield_now().await;
        }
        post.abort();
    }
    // Some are still being written: whatever can be seen at any moment has to be whole.
    let last = queued(&*store, "last").await;
    let another = database.open().await;
    let jobs = jobs(&*another, None, 1_000).await;
    assert!(jobs.iter().any(|job| job.id == last), "a write after the hang-ups reached the disk");
    for job in jobs {
        let deliveries = another.deliveries(job.id, 1_000).await.unwrap();
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].outcome, Outcome::Queued { job: job.id });
    }
}
