//! Contracts about deliveries, histories, saved points and what people do to jobs.
//!
//! Invariant: one contract, one claim; each is run on every kind of database.

use std::time::Duration;

use patchwright::alert::{Alert, Reason};
use patchwright::job::{EventKind, JobId, Stage, State};
use patchwright::outcome::{Ignored, Outcome};
use patchwright::redact::Redacted;
use patchwright::store::{Delivery, Intent, NewDelivery, StoreError};
use serde_json::json;

use super::given::*;

contracts! {
    the_first_alert_of_an_issue_queues_a_job_in_epoch_0
    an_alert_joins_the_job_that_waits_or_runs
    the_same_bytes_a_second_time_change_nothing
    the_same_bytes_from_another_source_are_another_delivery
    a_delivery_that_was_refused_is_looked_at_anew_when_it_comes_again
    a_delivery_that_starts_nothing_is_kept_with_its_outcome
    a_delivery_comes_back_as_it_came
    the_same_issue_number_in_another_project_is_another_issue
    an_alert_for_a_finished_job_joins_it
    an_alert_wakes_a_job_that_was_ignored
    a_regression_that_nobody_worked_on_stays_the_reason
    an_alert_that_joins_a_job_completes_what_the_job_knows
    a_job_about_to_be_ignored_starts_again_where_an_alert_that_joined_it_says_otherwise
    a_person_wakes_a_job_that_is_done
    a_job_woken_by_an_alert_forgets_what_was_saved
    a_regression_after_the_window_is_a_new_epoch
    a_regression_within_the_window_of_the_one_before_joins_its_job
    the_first_regression_of_a_job_that_is_done_is_a_new_epoch
    history_is_numbered_from_1_and_paged
    the_outcome_is_the_last_line_of_the_history
    a_saved_point_is_replaced_and_outlives_a_restart
    attempts_are_numbered_and_kept_from_their_start
    pull_requests_of_all_epochs_are_remembered_newest_first
    a_pull_request_found_again_is_the_same_one
    a_queued_job_is_cancelled_at_once
    a_running_job_is_cancelled_when_its_worker_hears_of_it
    a_running_job_whose_lease_has_run_out_is_cancelled_at_once_and_can_be_retried
    a_job_that_is_done_cannot_be_cancelled
    retry_queues_a_done_job_with_all_its_runs
    retry_keeps_what_was_saved_unless_fresh
    retry_refuses_what_is_not_done_or_not_the_newest
    jobs_are_listed_newest_first_by_state
    an_unknown_job_is_said_to_be_unknown
    what_was_accepted_survives_a_program_that_just_stops
    a_healthy_store_can_be_written_to
}

async fn the_first_alert_of_an_issue_queues_a_job_in_epoch_0(database: &dyn Database) {
    let store = database.open().await;
    let accepted = accept(&*store, work(alert("1", Reason::New))).await;
    let Outcome::Queued { job } = accepted.outcome else { panic!("{accepted:?}") };
    let job = store.job(job).await.unwrap();
    assert_eq!((job.key.source.as_str(), job.key.project.as_str()), ("sentry", "acme/web"));
    assert_eq!((job.key.issue.as_str(), job.key.epoch), ("1", 0));
    assert_eq!((job.state, job.runs, job.fence, job.stage), (State::Queued, 0, 0, None));
    assert_eq!(job.alert, alert("1", Reason::New));
    assert_eq!(job.run_after, job.created_at);
}

async fn an_alert_joins_the_job_that_waits_or_runs(database: &dyn Database) {
    let store = database.open().await;
    let job = queued(&*store, "1").await;
    let attached = Outcome::Attached { job };
    assert_eq!(accept(&*store, work(alert("1", Reason::New))).await.outcome, attached);
    take(&*store).await;
    for reason in [Reason::New, Reason::Requested, Reason::Regressed] {
        assert_eq!(accept(&*store, work_without_window(alert("1", reason))).await.outcome, attached);
    }
    let all = store.deliveries(job, 1_000).await.unwrap();
    assert_eq!((all.len(), store.delivery_count(job).await.unwrap()), (5, 5));
    let ids = |deliveries: &[Delivery]| deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>();
    assert_eq!(ids(&store.deliveries(job, 2).await.unwrap()), ids(&all)[3..], "not the newest two, oldest first");
}

async fn the_same_bytes_a_second_time_change_nothing(database: &dyn Database) {
    let store = database.open().await;
    let same = delivery();
    let first = store.accept(same.clone(), work(alert("1", Reason::New))).await.unwrap();
    let again = store.accept(same, work(alert("2", Reason::New))).await.unwrap();
    assert_eq!(again.delivery, first.delivery);
    assert_eq!(again.outcome, Outcome::Ignored { why: Ignored::Duplicate { delivery: first.delivery } });
    assert_eq!(jobs(&*store, None, 10).await.len(), 1);
}

async fn the_same_bytes_from_another_source_are_another_delivery(database: &dyn Database) {
    let store = database.open().await;
    let same = delivery();
    let first = store.accept(same.clone(), work(alert("1", Reason::New))).await.unwrap();
    let other = NewDelivery { source: "bugsink".into(), ..same };
    let second = store.accept(other, work(alert("1", Reason::New))).await.unwrap();
    assert_ne!(second.delivery, first.delivery);
}

async fn a_delivery_that_was_refused_is_looked_at_anew_when_it_comes_again(database: &dyn Database) {
    let store = database.open().await;
    let (same, refused) =
        (delivery(), Outcome::Ignored { why: Ignored::UnknownProject { project: "acme/web".into() } });
    let first = store.accept(same.clone(), Intent::Close(refused.clone())).await.unwrap();
    let again = store.accept(same.clone(), Intent::Close(refused.clone())).await.unwrap();
    assert_eq!((again.delivery, again.outcome), (first.delivery, refused));
    // The project was configured meanwhile.
    let renamed = NewDelivery { resource: "issue".into(), ..same.clone() };
    let counted = store.accept(renamed, work(alert("1", Reason::New))).await.unwrap();
    let Outcome::Queued { job } = counted.outcome else { panic!("{counted:?}") };
    assert_eq!(counted.delivery, first.delivery);
    let kept = store.deliveries(job, 10).await.unwrap();
    assert_eq!(
        kept.iter().map(|kept| (kept.id, kept.resource.as_str())).collect::<Vec<_>>(),
        [(first.delivery, "issue")]
    );
    assert_eq!((&kept[0].outcome, &kept[0].body), (&Outcome::Queued { job }, &same.body));
    let duplicate = store.accept(same, work(alert("1", Reason::New))).await.unwrap();
    assert_eq!(duplicate.outcome, Outcome::Ignored { why: Ignored::Duplicate { delivery: first.delivery } });
}

async fn a_delivery_that_starts_nothing_is_kept_with_its_outcome(database: &dyn Database) {
    let store = database.open().await;
    let outcome = Outcome::Ignored { why: Ignored::UnknownProject { project: "acme/other".into() } };
    let accepted = accept(&*store, Intent::Close(outcome.clone())).await;
    assert_eq!(accepted.outcome, outcome);
    let kept = store.delivery(accepted.delivery).await.unwrap().unwrap();
    assert_eq!((kept.outcome, kept.job), (outcome, None));
    assert!(store.claim(&claim()).await.unwrap().is_none());
}

async fn a_delivery_comes_back_as_it_came(database: &dyn Database) {
    let store = database.open().await;
    let mut body = b"\xff\xfe not UTF-8 \0 ".to_vec();
    body.extend((0..200_000_u32).flat_map(u32::to_le_bytes));
    let accepted = store.accept(delivery_of(&body), work(alert("1", Reason::New))).await.unwrap();
    let Outcome::Queued { job } = accepted.outcome else { panic!("{accepted:?}") };
    let kept = store.delivery(accepted.delivery).await.unwrap().unwrap();
    assert_eq!((kept.id, kept.source.as_str(), kept.resource.as_str()), (accepted.delivery, "sentry", "event_alert"));
    assert_eq!((kept.outcome, kept.job), (accepted.outcome, Some(job)));
    assert!(kept.body == body);
    assert!(store.delivery(accepted.delivery + 1).await.unwrap().is_none());
}

async fn the_same_issue_number_in_another_project_is_another_issue(database: &dyn Database) {
    let store = database.open().await;
    let first = queued(&*store, "1").await;
    let mut elsewhere = alert("1", Reason::New);
    elsewhere.project = "api".into();
    let outcome = accept(&*store, work(elsewhere)).await.outcome;
    assert!(matches!(outcome, Outcome::Queued { job } if job != first), "{outcome}");
}

async fn an_alert_for_a_finished_job_joins_it(database: &dyn Database) {
    let store = database.open().await;
    let job = done(&*store, "1", opened()).await;
    for reason in [Reason::New, Reason::Rule, Reason::Escalating] {
        let outcome = accept(&*store, work_without_window(alert("1", reason))).await.outcome;
        assert_eq!(outcome, Outcome::Attached { job }, "{reason:?}");
    }
    assert_eq!(state(&*store, job).await, State::Done);
}

async fn an_alert_wakes_a_job_that_was_ignored(database: &dyn Database) {
    let store = database.open().await;
    let job = done(&*store, "1", ignored()).await;
    let newer = alert("1", Reason::Escalating);
    let outcome = accept(&*store, work_in("acme/moved", newer.clone())).await.outcome;
    assert_eq!(outcome, Outcome::Queued { job });
    let woken = store.job(job).await.unwrap();
    assert_eq!((woken.state, woken.runs, woken.fence), (State::Queued, 0, 1));
    assert_eq!((woken.outcome, woken.finished_at, woken.stage), (None, None, None));
    assert_eq!(woken.alert, newer);
}

async fn a_regression_that_nobody_worked_on_stays_the_reason(database: &dyn Database) {
    let store = database.open().await;
    let job = done(&*store, "1", ignored()).await;
    for (reason, expected) in [
        (Reason::Regressed, Reason::Regressed),
        (Reason::Rule, Reason::Regressed),
        (Reason::Requested, Reason::Requested),
        (Reason::Rule, Reason::Rule),
    ] {
        assert_eq!(accept(&*store, work(alert("1", reason))).await.outcome, Outcome::Queued { job });
        let (taken, lease) = take(&*store).await;
        assert_eq!(taken.alert.reason, expected, "{reason:?}");
        store.finish(&lease, &clean(&ignored())).await.unwrap();
    }
}

async fn an_alert_that_joins_a_job_completes_what_the_job_knows(database: &dyn Database) {
    let store = database.open().await;
    let bare = Alert { environment: None, level: None, ..alert("1", Reason::New) };
    let Outcome::Queued { job } = accept(&*store, work(bare.clone())).await.outcome else { panic!("not queued") };
    let of_event = |id: &str, environment: &str| Alert {
        event_id: Some(id.into()),
        environment: Some(environment.into()),
        release: Some(format!("web@{id}")),
        ..alert("1", Reason::Regressed)
    };
    for alert in [of_event("1", "production"), of_event("2", "staging")] {
        assert_eq!(accept(&*store, work(alert)).await.outcome, Outcome::Attached { job });
    }
    let expected = Alert { title: bare.title, ..of_event("1", "production") };
    assert_eq!(store.job(job).await.unwrap().alert, expected, "the first event, whole, and the regression");
}

async fn a_job_about_to_be_ignored_starts_again_where_an_alert_that_joined_it_says_otherwise(database: &dyn Database) {
    let store = database.open().await;
    let bare = Alert { environment: None, ..alert("1", Reason::New) };
    let Outcome::Queued { job } = accept(&*store, work(bare)).await.outcome else { panic!("not queued") };
    let staging = Outcome::Ignored { why: Ignored::Environment { environment: "staging".into() } };
    let (_, lease) = take(&*store).await;
    accept(&*store, work(alert("1", Reason::Rule))).await;
    store.finish(&lease, &clean(&staging)).await.unwrap();
    let (again, lease) = take(&*store).await;
    assert_eq!((again.id, again.runs, again.alert.environment.as_deref()), (job, 2, Some("production")));
    let history = store.events(job, 0, 10).await.unwrap();
    assert!(history.last().unwrap().text.contains("starts again"), "{history:?}");
    // What is true of the alert as it is known by now ends the job.
    let production = Outcome::Ignored { why: Ignored::Environment { environment: "production".into() } };
    store.finish(&lease, &clean(&production)).await.unwrap();
    assert_eq!(store.job(job).await.unwrap().outcome, Some(production));
}

async fn a_person_wakes_a_job_that_is_done(database: &dyn Database) {
    let store = database.open().await;
    let job = done(&*store, "1", opened()).await;
    let outcome = accept(&*store, work(alert("1", Reason::Requested))).await.outcome;
    assert_eq!(outcome, Outcome::Queued { job });
    assert_eq!(take(&*store).await.0.alert.reason, Reason::Requested);
}

async fn a_job_woken_by_an_alert_forgets_what_was_saved(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    store.save(&lease, "patch", &clean_json(json!("of the old alert"))).await.unwrap();
    store.save_pull_request(&lease, &pull_request(job, 7)).await.unwrap();
    store.finish(&lease, &clean(&opened())).await.unwrap();
    accept(&*store, work(alert("1", Reason::Requested))).await;
    assert_eq!(store.saved(job, "patch").await.unwrap(), None);
    assert_eq!(store.pull_requests("sentry", "acme/web", "1").await.unwrap().len(), 1);
}

async fn a_regression_after_the_window_is_a_new_epoch(database: &dyn Database) {
    let store = database.open().await;
    let first = done(&*store, "1", opened()).await;
    for epoch in 1..=2 {
        let outcome = accept(&*store, work_without_window(alert("1", Reason::Regressed))).await.outcome;
        let Outcome::Queued { job } = outcome else { panic!("{outcome}") };
        assert_ne!(job, first);
        assert_eq!(store.job(job).await.unwrap().key.epoch, epoch);
        let (_, lease) = take(&*store).await;
        store.finish(&lease, &clean(&opened())).await.unwrap();
    }
}

async fn a_regression_within_the_window_of_the_one_before_joins_its_job(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    accept(&*store, work(alert("1", Reason::Regressed))).await;
    store.finish(&lease, &clean(&opened())).await.unwrap();
    for window in [HOUR, Duration::MAX] {
        let alert = Box::new(alert("1", Reason::Regressed));
        let intent = Intent::Work { alert, repository: "acme/web".into(), regression_window: window };
        assert_eq!(accept(&*store, intent).await.outcome, Outcome::Attached { job });
    }
}

async fn the_first_regression_of_a_job_that_is_done_is_a_new_epoch(database: &dyn Database) {
    let store = database.open().await;
    let first = done(&*store, "1", opened()).await;
    // However soon after the job's end: the fix may be out, and broken.
    let outcome = accept(&*store, work(alert("1", Reason::Regressed))).await.outcome;
    let Outcome::Queued { job } = outcome else { panic!("{outcome}") };
    assert_eq!((job != first, store.job(job).await.unwrap().key.epoch), (true, 1));
    let (_, lease) = take(&*store).await;
    store.finish(&lease, &clean(&opened())).await.unwrap();
    let twin = accept(&*store, work(alert("1", Reason::Regressed))).await.outcome;
    assert_eq!(twin, Outcome::Attached { job }, "the same regression, told by another webhook");
}

async fn history_is_numbered_from_1_and_paged(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    store.record(&lease, &[line("one"), line("two\0\n<script>")]).await.unwrap();
    store.record(&lease, &[]).await.unwrap();
    store.record(&lease, &[line("three")]).await.unwrap();
    let page = store.events(job, 0, 2).await.unwrap();
    assert_eq!(page.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(page[1].text, "two\0\n<script>");
    assert_eq!((page[0].stage, page[0].kind), (Stage::Agent, EventKind::Output));
    let rest = store.events(job, 2, 100).await.unwrap();
    assert_eq!(rest.iter().map(|event| (event.seq, event.text.as_str())).collect::<Vec<_>>(), [(3, "three")]);
    assert!(store.events(job, 3, 100).await.unwrap().is_empty());
}

async fn the_outcome_is_the_last_line_of_the_history(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    store.enter(&lease, Stage::Publish).await.unwrap();
    store.record(&lease, &[line("pushed")]).await.unwrap();
    store.finish(&lease, &clean(&opened())).await.unwrap();
    let last = store.events(job, 0, 100).await.unwrap().pop().unwrap();
    assert_eq!((last.seq, last.kind, last.stage), (2, EventKind::Outcome, Stage::Publish));
    assert_eq!(last.text, opened().to_string());
    let ended = store.job(job).await.unwrap();
    assert_eq!((ended.state, ended.outcome, ended.stage), (State::Done, Some(opened()), Some(Stage::Publish)));
    assert!(ended.finished_at.is_some_and(|at| at >= ended.created_at));
}

async fn a_saved_point_is_replaced_and_outlives_a_restart(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    store.save(&lease, "patch", &clean_json(json!({ "tree": "old" }))).await.unwrap();
    store.save(&lease, "patch", &clean_json(json!({ "tree": "new", "note": "Ω\u{0}" }))).await.unwrap();
    store.save(&lease, "nothing", &clean_json(json!(null))).await.unwrap();
    drop(store);
    let store = database.open().await;
    assert_eq!(store.saved(job, "patch").await.unwrap(), Some(json!({ "tree": "new", "note": "Ω\u{0}" })));
    assert_eq!(store.saved(job, "nothing").await.unwrap(), Some(json!(null)));
    assert_eq!(store.saved(job, "baseline").await.unwrap(), None);
}

async fn attempts_are_numbered_and_kept_from_their_start(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    assert_eq!(store.begin_attempt(&lease, "claude").await.unwrap(), 1);
    store.end_attempt(&lease, 1, &Redacted::ours("ended with exit code 0")).await.unwrap();
    assert_eq!(store.begin_attempt(&lease, "codex").await.unwrap(), 2);
    // As after a crash: the second attempt never came to its end.
    let store = database.open().await;
    let attempts = store.attempts(job).await.unwrap();
    let seen: Vec<_> = attempts.iter().map(|it| (it.number, it.agent.as_str(), it.result.as_deref())).collect();
    assert_eq!(seen, [(1, "claude", Some("ended with exit code 0")), (2, "codex", None)]);
    assert!(attempts[0].ended_at >= Some(attempts[0].started_at) && attempts[1].ended_at.is_none());
    assert!(store.attempts(JobId(job.0 + 1)).await.unwrap().is_empty());
}

async fn pull_requests_of_all_epochs_are_remembered_newest_first(database: &dyn Database) {
    let store = database.open().await;
    let (first, lease) = running(&*store, "1").await;
    store.save_pull_request(&lease, &pull_request(first, 7)).await.unwrap();
    store.finish(&lease, &clean(&opened())).await.unwrap();
    accept(&*store, work_without_window(alert("1", Reason::Regressed))).await;
    let (second, lease) = take(&*store).await;
    store.save_pull_request(&lease, &pull_request(second.id, 9)).await.unwrap();
    let known = store.pull_requests("sentry", "acme/web", "1").await.unwrap();
    assert_eq!(known, [pull_request(second.id, 9), pull_request(first, 7)]);
    assert!(store.pull_requests("sentry", "acme/web", "2").await.unwrap().is_empty());
    assert!(store.pull_requests("sentry", "acme/api", "1").await.unwrap().is_empty());
}

async fn a_pull_request_found_again_is_the_same_one(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    store.save_pull_request(&lease, &pull_request(job, 7)).await.unwrap();
    let mut renamed = pull_request(job, 7);
    renamed.branch = "patchwright/renamed".into();
    store.save_pull_request(&lease, &renamed).await.unwrap();
    assert_eq!(store.pull_requests("sentry", "acme/web", "1").await.unwrap(), [renamed]);
}

async fn a_queued_job_is_cancelled_at_once(database: &dyn Database) {
    let store = database.open().await;
    let job = queued(&*store, "1").await;
    assert_eq!(store.cancel(job).await.unwrap(), State::Done);
    assert_eq!(store.job(job).await.unwrap().outcome, Some(Outcome::Cancelled));
    assert!(store.claim(&claim()).await.unwrap().is_none());
    let history = store.events(job, 0, 10).await.unwrap();
    assert_eq!(history.last().unwrap().kind, EventKind::Outcome);
}

async fn a_running_job_is_cancelled_when_its_worker_hears_of_it(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    assert!(!store.renew(&lease, HOUR).await.unwrap());
    assert_eq!(store.cancel(job).await.unwrap(), State::Running);
    assert!(store.job(job).await.unwrap().cancel_requested);
    assert!(store.renew(&lease, HOUR).await.unwrap());
    store.hand_back(&lease, in_hours(0), true).await.unwrap();
    assert_eq!(store.job(job).await.unwrap().outcome, Some(Outcome::Cancelled));
}

async fn a_running_job_whose_lease_has_run_out_is_cancelled_at_once_and_can_be_retried(database: &dyn Database) {
    let store = database.open().await;
    let job = queued(&*store, "1").await;
    let (_, lease) = store.claim(&claim_and_die()).await.unwrap().unwrap();
    assert_eq!(store.cancel(job).await.unwrap(), State::Done);
    assert_eq!(store.job(job).await.unwrap().outcome, Some(Outcome::Cancelled));
    assert!(matches!(store.enter(&lease, Stage::Publish).await, Err(StoreError::LeaseLost(_))));
    store.retry(job, false).await.unwrap();
    assert_eq!(take(&*store).await.0.id, job);
}

async fn a_job_that_is_done_cannot_be_cancelled(database: &dyn Database) {
    let store = database.open().await;
    let job = done(&*store, "1", opened()).await;
    let error = store.cancel(job).await.unwrap_err();
    assert!(matches!(error, StoreError::NotNow { state: State::Done, .. }), "{error}");
    assert_eq!(store.job(job).await.unwrap().outcome, Some(opened()));
}

async fn retry_queues_a_done_job_with_all_its_runs(database: &dyn Database) {
    let store = database.open().await;
    let job = queued(&*store, "1").await;
    store.cancel(job).await.unwrap();
    store.retry(job, false).await.unwrap();
    let again = store.job(job).await.unwrap();
    assert_eq!((again.state, again.runs, again.cancel_requested), (State::Queued, 0, false));
    assert_eq!((again.outcome, again.finished_at), (None, None));
    let (taken, lease) = take(&*store).await;
    assert_eq!((taken.id, taken.runs, lease.fence), (job, 1, 1));
}

async fn retry_keeps_what_was_saved_unless_fresh(database: &dyn Database) {
    let store = database.open().await;
    let (job, lease) = running(&*store, "1").await;
    store.save(&lease, "patch", &clean_json(json!(1))).await.unwrap();
    store.save_pull_request(&lease, &pull_request(job, 7)).await.unwrap();
    store.finish(&lease, &clean(&opened())).await.unwrap();
    store.retry(job, false).await.unwrap();
    assert_eq!(store.saved(job, "patch").await.unwrap(), Some(json!(1)));
    store.cancel(job).await.unwrap();
    store.retry(job, true).await.unwrap();
    assert_eq!(store.saved(job, "patch").await.unwrap(), None);
    assert_eq!(store.pull_requests("sentry", "acme/web", "1").await.unwrap().len(), 1);
}

async fn retry_refuses_what_is_not_done_or_not_the_newest(database: &dyn Database) {
    let store = database.open().await;
    let old = done(&*store, "1", opened()).await;
    accept(&*store, work_without_window(alert("1", Reason::Regressed))).await;
    let superseded = store.retry(old, false).await.unwrap_err();
    assert!(matches!(superseded, StoreError::NotNow { state: State::Done, .. }), "{superseded}");
    let newest = jobs(&*store, None, 1).await[0].id;
    let waiting = store.retry(newest, false).await.unwrap_err();
    assert!(matches!(waiting, StoreError::NotNow { state: State::Queued, .. }), "{waiting}");
    take(&*store).await;
    let busy = store.retry(newest, true).await.unwrap_err();
    assert!(matches!(busy, StoreError::NotNow { state: State::Running, .. }), "{busy}");
}

async fn jobs_are_listed_newest_first_by_state(database: &dyn Database) {
    let store = database.open().await;
    let ended = done(&*store, "1", opened()).await;
    let (busy, _lease) = running(&*store, "2").await;
    let waits = queued(&*store, "3").await;
    let ids = async |state, limit| jobs(&*store, state, limit).await.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(None, 10).await, [waits, busy, ended]);
    assert_eq!(ids(None, 2).await, [waits, busy]);
    assert_eq!(ids(Some(State::Queued), 10).await, [waits]);
    assert_eq!(ids(Some(State::Running), 10).await, [busy]);
    assert_eq!(ids(Some(State::Done), 10).await, [ended]);
}

async fn an_unknown_job_is_said_to_be_unknown(database: &dyn Database) {
    let store = database.open().await;
    let nobody = JobId(404);
    assert!(matches!(store.job(nobody).await, Err(StoreError::NoSuchJob(job)) if job == nobody));
    assert!(matches!(store.cancel(nobody).await, Err(StoreError::NoSuchJob(_))));
    assert!(matches!(store.retry(nobody, false).await, Err(StoreError::NoSuchJob(_))));
    assert!(store.claim_job(nobody, &claim()).await.unwrap().is_none());
    assert!(store.events(nobody, 0, 10).await.unwrap().is_empty());
}

async fn what_was_accepted_survives_a_program_that_just_stops(database: &dyn Database) {
    let store = database.open().await;
    let waits = queued(&*store, "1").await;
    let runs = queued(&*store, "2").await;
    let (first, lease) = store.claim(&claim_and_die()).await.unwrap().unwrap();
    store.enter(&lease, Stage::Agent).await.unwrap();
    assert_eq!(first.id, waits);
    // Nothing is closed or handed back: the next program finds what a killed one leaves.
    let next = database.open().await;
    let (resumed, again) = take(&*next).await;
    assert_eq!((resumed.id, resumed.stage, resumed.runs), (waits, Some(Stage::Agent), 2));
    assert!(again.fence > lease.fence);
    assert_eq!(take(&*next).await.0.id, runs);
    assert_eq!(next.deliveries(waits, 1_000).await.unwrap().len(), 1);
}

async fn a_healthy_store_can_be_written_to(database: &dyn Database) {
    let store = database.open().await;
    store.check().await.unwrap();
    store.check().await.unwrap();
}
