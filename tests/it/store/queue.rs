//! Contracts about claims and leases: who may work, for how long, and what a worker that was replaced can still do.
//!
//! Invariant: time never passes by waiting here; a lease of no length has run out at once.

use std::time::Duration;

use patchwright::job::{EventKind, Lease, Stage, State};
use patchwright::outcome::{Opened, Outcome};
use patchwright::redact::Redacted;
use patchwright::store::{Claim, KnownPullRequest, Store, StoreError};
use serde_json::json;

use super::given::*;

contracts! {
    jobs_are_claimed_in_the_order_in_which_they_came
    a_job_that_was_handed_back_takes_its_place_by_its_time
    a_repository_never_has_more_running_jobs_than_allowed
    a_job_is_not_claimed_before_its_time
    a_named_job_is_claimed_before_its_time_and_beside_others
    a_named_job_that_is_not_queued_is_not_claimed
    an_expired_lease_is_taken_over_with_a_greater_fence
    nothing_that_a_replaced_worker_writes_has_an_effect
    a_lease_of_another_worker_or_fence_is_no_lease
    a_lease_that_ran_out_still_counts_until_somebody_claims_the_job
    a_lease_is_checked_with_its_margin
    a_renewed_lease_is_not_taken_over
    a_job_that_kills_its_worker_is_ended_in_the_end
    a_job_that_kills_its_worker_after_its_pull_request_ends_as_opened
    a_run_of_this_process_is_not_taken_for_expired
    a_run_that_does_not_count_can_be_had_again
    a_job_handed_back_too_often_is_ended
    a_cancelled_job_whose_worker_died_ends_as_cancelled
    a_fence_is_never_used_twice
}

async fn jobs_are_claimed_in_the_order_in_which_they_came(database: &dyn Database) {
    let store = database.open().await;
    let mut expected = Vec::new();
    for issue in ["1", "2", "3", "4"] {
        expected.push(queued(&*store, issue).await);
    }
    let mut claimed = Vec::new();
    while let Some((job, lease)) = store.claim(&claim()).await.unwrap() {
        assert_eq!((job.state, job.runs, job.fence, job.id), (State::Running, 1, lease.fence, lease.job));
        claimed.push(job.id);
    }
    assert_eq!(claimed, expected);
}

async fn a_job_that_was_handed_back_takes_its_place_by_its_time(database: &dyn Database) {
    let store = database.open().await;
    let (late, lease) = running(&*store, "1").await;
    let other = queued(&*store, "2").await;
    store.hand_back(&lease, in_hours(-1), true).await.unwrap();
    assert_eq!(take(&*store).await.0.id, late);
    assert_eq!(take(&*store).await.0.id, other);
}

async fn a_repository_never_has_more_running_jobs_than_allowed(database: &dyn Database) {
    let store = database.open().await;
    let two = Claim { per_repository: 2, ..claim() };
    for issue in ["1", "2", "3"] {
        queued_in(&*store, "acme/web", issue).await;
    }
    let elsewhere = queued_in(&*store, "acme/api", "4").await;
    let (_, first) = store.claim(&two).await.unwrap().unwrap();
    store.claim(&two).await.unwrap().unwrap();
    let (other, _) = store.claim(&two).await.unwrap().unwrap();
    assert_eq!(other.id, elsewhere, "a full repository does not stand in the way of another");
    assert!(store.claim(&two).await.unwrap().is_none());
    store.finish(&first, &clean(&opened())).await.unwrap();
    assert!(store.claim(&two).await.unwrap().is_some());
    assert!(store.claim(&two).await.unwrap().is_none());
}

async fn a_job_is_not_claimed_before_its_time(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    let at = in_hours(1);
    store.hand_back(&lease, at, true).await.unwrap();
    assert!(store.claim(&claim()).await.unwrap().is_none());
    let waits = store.job(job).await.unwrap();
    assert_eq!((waits.state, waits.run_after.timestamp_millis()), (State::Queued, at.timestamp_millis()));
}

async fn a_named_job_is_claimed_before_its_time_and_beside_others(database: &dyn Database) {
    let store = database.open().await;
    let one = Claim { per_repository: 1, ..claim() };
    let (early, lease) = running(&*store, "1").await;
    store.hand_back(&lease, in_hours(1), true).await.unwrap();
    queued(&*store, "2").await;
    store.claim(&one).await.unwrap().unwrap();
    let (job, lease) = store.claim_job(early, &one).await.unwrap().unwrap();
    assert_eq!((job.id, lease.fence), (early, 2));
    queued(&*store, "3").await;
    assert!(store.claim(&one).await.unwrap().is_none(), "the named job takes room too");
}

async fn a_named_job_that_is_not_queued_is_not_claimed(database: &dyn Database) {
    let store = database.open().await;
    let (busy, _lease) = running(&*store, "1").await;
    assert!(store.claim_job(busy, &claim()).await.unwrap().is_none());
    let ended = done(&*store, "2", opened()).await;
    assert!(store.claim_job(ended, &claim()).await.unwrap().is_none());
}

async fn an_expired_lease_is_taken_over_with_a_greater_fence(database: &dyn Database) {
    let store = database.open().await;
    let id = queued(&*store, "1").await;
    let (_, dead) = store.claim(&claim_and_die()).await.unwrap().unwrap();
    let (job, lease) = take(&*store).await;
    assert_eq!((job.id, job.runs), (id, 2));
    assert!(lease.fence > dead.fence);
    let history = store.events(id, 0, 10).await.unwrap();
    assert_eq!(history.last().unwrap().kind, EventKind::Problem);
    assert!(history.last().unwrap().text.contains("worker-a"), "{history:?}");
}

async fn nothing_that_a_replaced_worker_writes_has_an_effect(database: &dyn Database) {
    let store = database.open().await;
    let id = queued(&*store, "1").await;
    let (_, zombie) = store.claim(&claim_and_die()).await.unwrap().unwrap();
    let (_, lease) = take(&*store).await;
    let before = (store.job(id).await.unwrap(), store.events(id, 0, 100).await.unwrap());
    assert_every_write_is_refused(&*store, &zombie).await;
    assert_eq!((store.job(id).await.unwrap(), store.events(id, 0, 100).await.unwrap()), before);
    assert_eq!(store.saved(id, "patch").await.unwrap(), None);
    assert!(store.pull_requests("sentry", "acme/web", "1").await.unwrap().is_empty());
    store.finish(&lease, &clean(&opened())).await.unwrap();
    assert_every_write_is_refused(&*store, &lease).await;
}

async fn a_lease_of_another_worker_or_fence_is_no_lease(database: &dyn Database) {
    let store = database.open().await;
    let (_, lease) = running(&*store, "1").await;
    assert_every_write_is_refused(&*store, &Lease { owner: "worker-b".into(), ..lease.clone() }).await;
    assert_every_write_is_refused(&*store, &Lease { fence: lease.fence + 1, ..lease.clone() }).await;
    let other = queued(&*store, "2").await;
    assert_every_write_is_refused(&*store, &Lease { job: other, ..lease.clone() }).await;
    store.enter(&lease, Stage::Triage).await.unwrap();
}

async fn a_lease_that_ran_out_still_counts_until_somebody_claims_the_job(database: &dyn Database) {
    let store = database.open().await;
    let id = queued(&*store, "1").await;
    let (_, lease) = store.claim(&claim_and_die()).await.unwrap().unwrap();
    store.record(&lease, &[line("late, but not too late")]).await.unwrap();
    assert!(lost(store.check_lease(&lease, Duration::ZERO).await), "nothing may be done outside under it");
    assert!(!store.renew(&lease, HOUR).await.unwrap());
    store.check_lease(&lease, Duration::ZERO).await.unwrap();
    store.finish(&lease, &clean(&opened())).await.unwrap();
    assert_eq!(state(&*store, id).await, State::Done);
}

async fn a_lease_is_checked_with_its_margin(database: &dyn Database) {
    let store = database.open().await;
    let (_, lease) = running(&*store, "1").await;
    store.check_lease(&lease, Duration::from_secs(60)).await.unwrap();
    assert!(lost(store.check_lease(&lease, 2 * HOUR).await));
    assert!(lost(store.check_lease(&lease, Duration::MAX).await));
}

async fn a_renewed_lease_is_not_taken_over(database: &dyn Database) {
    let store = database.open().await;
    queued(&*store, "1").await;
    let (_, lease) = store.claim(&claim_and_die()).await.unwrap().unwrap();
    store.renew(&lease, HOUR).await.unwrap();
    assert!(store.claim(&claim()).await.unwrap().is_none());
    store.renew(&lease, Duration::ZERO).await.unwrap();
    assert!(store.claim(&claim()).await.unwrap().is_some());
}

async fn a_job_that_kills_its_worker_is_ended_in_the_end(database: &dyn Database) {
    let store = database.open().await;
    let poison = queued(&*store, "1").await;
    for run in 1..=3 {
        let (job, lease) = store.claim(&claim_and_die()).await.unwrap().unwrap();
        assert_eq!((job.id, job.runs), (poison, run));
        store.enter(&lease, Stage::Baseline).await.unwrap();
    }
    assert!(store.claim(&claim_and_die()).await.unwrap().is_none());
    let ended = store.job(poison).await.unwrap();
    let Some(Outcome::Failed { stage: Stage::Baseline, message }) = ended.outcome else { panic!("{ended:?}") };
    assert!(message.starts_with("3 runs") && message.contains("jobs retry 1"), "{message}");
    let kinds: Vec<_> = store.events(poison, 0, 10).await.unwrap().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Problem, EventKind::Problem, EventKind::Problem, EventKind::Outcome]);
}

async fn a_job_that_kills_its_worker_after_its_pull_request_ends_as_opened(database: &dyn Database) {
    let store = database.open().await;
    let job = queued(&*store, "1").await;
    for _ in 1..=3 {
        let (_, lease) = store.claim(&claim_and_die()).await.unwrap().unwrap();
        store.save_pull_request(&lease, &KnownPullRequest { draft: false, ..pull_request(job, 7) }).await.unwrap();
    }
    assert!(store.claim(&claim_and_die()).await.unwrap().is_none());
    let Some(Outcome::Opened { pull_requests }) = store.job(job).await.unwrap().outcome else { panic!("not opened") };
    let known = pull_request(job, 7);
    assert_eq!(pull_requests, [Opened { repository: known.repository, url: known.url, draft: false }]);
}

async fn a_run_of_this_process_is_not_taken_for_expired(database: &dyn Database) {
    let store = database.open().await;
    let id = queued(&*store, "1").await;
    let (_, lease) = store.claim(&claim_and_die()).await.unwrap().unwrap();
    let ours = Claim { alive: vec![(id, lease.fence)], ..claim() };
    assert!(store.claim(&ours).await.unwrap().is_none());
    let earlier = Claim { alive: vec![(id, lease.fence - 1)], ..claim() };
    assert_eq!(store.claim(&earlier).await.unwrap().unwrap().1.fence, lease.fence + 1);
}

async fn a_run_that_does_not_count_can_be_had_again(database: &dyn Database) {
    let store = database.open().await;
    queued(&*store, "1").await;
    for fence in 1..=5 {
        let (job, lease) = take(&*store).await;
        assert_eq!((job.runs, job.fence), (1, fence));
        store.hand_back(&lease, in_hours(-1), false).await.unwrap();
    }
}

async fn a_job_handed_back_too_often_is_ended(database: &dyn Database) {
    let store = database.open().await;
    let stubborn = queued(&*store, "1").await;
    for _ in 0..3 {
        let (_, lease) = take(&*store).await;
        store.hand_back(&lease, in_hours(-1), true).await.unwrap();
    }
    let healthy = queued(&*store, "2").await;
    assert_eq!(take(&*store).await.0.id, healthy);
    assert!(matches!(store.job(stubborn).await.unwrap().outcome, Some(Outcome::Failed { .. })));
}

async fn a_cancelled_job_whose_worker_died_ends_as_cancelled(database: &dyn Database) {
    let store = database.open().await;
    let job = queued(&*store, "1").await;
    let (_, lease) = take(&*store).await;
    assert_eq!(store.cancel(job).await.unwrap(), State::Running);
    store.renew(&lease, Duration::ZERO).await.unwrap();
    assert!(store.claim(&claim()).await.unwrap().is_none());
    assert_eq!(store.job(job).await.unwrap().outcome, Some(Outcome::Cancelled));
}

async fn a_fence_is_never_used_twice(database: &dyn Database) {
    let store = database.open().await;
    let (job, first) = running(&*store, "1").await;
    store.hand_back(&first, in_hours(-1), false).await.unwrap();
    let (_, second) = take(&*store).await;
    store.finish(&second, &clean(&opened())).await.unwrap();
    store.retry(job, true).await.unwrap();
    let (_, third) = take(&*store).await;
    assert_eq!([first.fence, second.fence, third.fence], [1, 2, 3]);
}

async fn assert_every_write_is_refused(store: &dyn Store, lease: &Lease) {
    assert!(lost(store.renew(lease, HOUR).await), "renew");
    assert!(lost(store.check_lease(lease, Duration::ZERO).await), "check_lease");
    assert!(lost(store.enter(lease, Stage::Publish).await), "enter");
    assert!(lost(store.record(lease, &[line("from the dead")]).await), "record");
    assert!(lost(store.record(lease, &[]).await), "record nothing");
    assert!(lost(store.save(lease, "patch", &clean_json(json!("from the dead"))).await), "save");
    assert!(lost(store.begin_attempt(lease, "ghost").await), "begin_attempt");
    assert!(lost(store.end_attempt(lease, 1, &Redacted::ours("from the dead")).await), "end_attempt");
    assert!(lost(store.save_pull_request(lease, &pull_request(lease.job, 666)).await), "save_pull_request");
    assert!(lost(store.finish(lease, &clean(&opened())).await), "finish");
    assert!(lost(store.hand_back(lease, in_hours(-1), false).await), "hand_back");
}

fn lost<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost(_)))
}
