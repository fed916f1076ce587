//! The store against a model of it: random histories, told to both, have to end alike.
//!
//! Invariant: the model is plain data and knows no clock; a lease either holds for an hour or has run out at once.

use std::time::Duration;

use patchwright::alert::Reason;
use patchwright::job::{JobId, Lease, State};
use patchwright::outcome::Outcome;
use patchwright::store::{Claim, Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::given::*;

const MAX_RUNS: u32 = 2;
const PER_REPOSITORY: usize = 2;

/// Something that happens. Indexes are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Alert { issue: u8, reason: Reason, window: bool },
    Claim { dies: bool },
    ClaimJob { job: usize, dies: bool },
    Renew { lease: usize, dies: bool },
    Finish { lease: usize, ignored: bool },
    HandBack { lease: usize, counts: bool },
    Cancel { job: usize },
    Retry { job: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reason = prop_oneof![Just(Reason::New), Just(Reason::Regressed), Just(Reason::Requested)];
    let step = prop_oneof![
        4 => (0..5_u8, reason, any::<bool>()).prop_map(|(issue, reason, window)| Step::Alert { issue, reason, window }),
        4 => any::<bool>().prop_map(|dies| Step::Claim { dies }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(job, dies)| Step::ClaimJob { job, dies }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(lease, dies)| Step::Renew { lease, dies }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(lease, ignored)| Step::Finish { lease, ignored }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(lease, counts)| Step::HandBack { lease, counts }),
        1 => any::<usize>().prop_map(|job| Step::Cancel { job }),
        1 => any::<usize>().prop_map(|job| Step::Retry { job }),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Clone, PartialEq, Debug)]
struct Expected {
    issue: u8,
    epoch: i64,
    state: State,
    runs: i64,
    fence: i64,
    cancel: bool,
    dies: bool,
    /// Whether a regression is part of it, which all happened within the window.
    regressed: bool,
    outcome: Option<&'static str>,
}

/// The jobs, at index id - 1.
#[derive(Default, Debug)]
struct Model(Vec<Expected>);

impl Model {
    fn alert(&mut self, issue: u8, reason: Reason, window: bool) -> Outcome {
        let outcome = self.place(issue, reason, window);
        if let Outcome::Queued { job } | Outcome::Attached { job } = outcome {
            self.0[index(job)].regressed |= reason == Reason::Regressed;
        }
        outcome
    }

    fn place(&mut self, issue: u8, reason: Reason, window: bool) -> Outcome {
        let Some(last) = (0..self.0.len()).filter(|n| self.0[*n].issue == issue).max_by_key(|n| self.0[*n].epoch)
        else {
            return self.create(issue, 0);
        };
        let job = id(last);
        if self.0[last].state != State::Done {
            return Outcome::Attached { job };
        }
        if self.0[last].outcome == Some("ignored") || reason == Reason::Requested {
            self.queue_again(last);
            return Outcome::Queued { job };
        }
        if reason == Reason::Regressed && !(window && self.0[last].regressed) {
            return self.create(issue, self.0[last].epoch + 1);
        }
        Outcome::Attached { job }
    }

    fn create(&mut self, issue: u8, epoch: i64) -> Outcome {
        let state = State::Queued;
        let (cancel, dies, regressed) = (false, false, false);
        self.0.push(Expected { issue, epoch, state, runs: 0, fence: 0, cancel, dies, regressed, outcome: None });
        Outcome::Queued { job: id(self.0.len() - 1) }
    }

    fn queue_again(&mut self, n: usize) {
        let job = &mut self.0[n];
        *job = Expected { state: State::Queued, runs: 0, cancel: false, outcome: None, ..job.clone() };
    }

    fn end(&mut self, n: usize, outcome: &'static str) {
        self.0[n].state = State::Done;
        self.0[n].outcome = Some(outcome);
    }

    /// What every claim does first.
    fn take_back_expired(&mut self) {
        for n in 0..self.0.len() {
            if self.0[n].state == State::Running && self.0[n].dies {
                match &self.0[n] {
                    job if job.cancel => self.end(n, "cancelled"),
                    job if job.runs >= i64::from(MAX_RUNS) => self.end(n, "failed"),
                    _ => self.0[n].state = State::Queued,
                }
            }
        }
    }

    fn has_room(&self, n: usize) -> bool {
        let same =
            |job: &&Expected| job.state == State::Running && repository(job.issue) == repository(self.0[n].issue);
        self.0.iter().filter(same).count() < PER_REPOSITORY
    }

    /// Jobs that were taken up too often end when a claim comes upon them; which ones it does is a matter of order, so the
    /// model asks the store, and checks that it was allowed to.
    fn give_up(&mut self, ended: impl Fn(JobId) -> bool) {
        for n in 0..self.0.len() {
            if self.0[n].state == State::Queued && self.0[n].runs >= i64::from(MAX_RUNS) && ended(id(n)) {
                self.end(n, "failed");
            }
        }
    }

    fn may_be_claimed(&self, n: usize) -> bool {
        self.0[n].state == State::Queued && self.0[n].runs < i64::from(MAX_RUNS) && self.has_room(n)
    }

    fn take(&mut self, n: usize, dies: bool) {
        let job = &mut self.0[n];
        *job = Expected { state: State::Running, runs: job.runs + 1, fence: job.fence + 1, dies, ..job.clone() };
    }

    fn holds(&self, lease: &Lease) -> Option<usize> {
        let n = index(lease.job);
        (self.0[n].state == State::Running && self.0[n].fence == lease.fence).then_some(n)
    }

    fn is_newest(&self, n: usize) -> bool {
        self.0.iter().all(|job| job.issue != self.0[n].issue || job.epoch <= self.0[n].epoch)
    }
}

#[test]
fn random_histories_end_as_the_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| runtime.block_on(replay(&SqliteFile::fleeting(), steps)))
        .unwrap_or_else(|failure| panic!("{failure}"));
}

async fn replay(database: &dyn Database, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let store = database.open().await;
    let mut model = Model::default();
    let mut leases: Vec<Lease> = Vec::new();
    for step in steps {
        perform(&*store, &mut model, &mut leases, &step).await?;
        prop_assert_eq!(&seen(&*store, &model).await, &model.0, "after {:?}", step);
    }
    Ok(())
}

async fn perform(
    store: &dyn Store,
    model: &mut Model,
    leases: &mut Vec<Lease>,
    step: &Step,
) -> Result<(), TestCaseError> {
    match *step {
        Step::Alert { issue, reason, window } => {
            let alert = alert(&issue.to_string(), reason);
            let (repository, regression_window) = (repository(issue), if window { HOUR } else { Duration::ZERO });
            let intent = patchwright::store::Intent::Work { alert: Box::new(alert), repository, regression_window };
            prop_assert_eq!(accept(store, intent).await.outcome, model.alert(issue, reason, window));
        }
        Step::Claim { dies } => {
            let claimed = store.claim(&terms(dies)).await.unwrap();
            model.take_back_expired();
            let jobs = jobs(store, Some(State::Done), 1_000).await;
            model.give_up(|job| jobs.iter().any(|done| done.id == job));
            match claimed {
                Some((job, lease)) => {
                    prop_assert!(model.may_be_claimed(index(job.id)), "{:?} in {:?}", job, model);
                    model.take(index(job.id), dies);
                    leases.push(lease);
                }
                None => prop_assert!((0..model.0.len()).all(|n| !model.may_be_claimed(n)), "{:?}", model),
            }
        }
        Step::ClaimJob { job, dies } => {
            let Some(n) = job.checked_rem(model.0.len()) else { return Ok(()) };
            let claimed = store.claim_job(id(n), &terms(dies)).await.unwrap();
            model.take_back_expired();
            prop_assert_eq!(claimed.is_some(), model.0[n].state == State::Queued);
            if let Some((_, lease)) = claimed {
                model.take(n, dies);
                leases.push(lease);
            }
        }
        Step::Renew { lease, dies } => {
            let Some(lease) = lease.checked_rem(leases.len()).map(|n| &leases[n]) else { return Ok(()) };
            let held = model.holds(lease);
            let answer = store.renew(lease, terms(dies).lease).await;
            prop_assert_eq!(unless_lost(answer)?, held.map(|n| model.0[n].cancel));
            if let Some(n) = held {
                model.0[n].dies = dies;
            }
        }
        Step::Finish { lease, ignored: is_ignored } => {
            let Some(lease) = lease.checked_rem(leases.len()).map(|n| &leases[n]) else { return Ok(()) };
            let outcome = if is_ignored { ignored() } else { opened() };
            let held = model.holds(lease);
            prop_assert_eq!(unless_lost(store.finish(lease, &clean(&outcome)).await)?, held.map(|_| ()));
            if let Some(n) = held {
                model.end(n, outcome.name());
            }
        }
        Step::HandBack { lease, counts } => {
            let Some(lease) = lease.checked_rem(leases.len()).map(|n| &leases[n]) else { return Ok(()) };
            let held = model.holds(lease);
            prop_assert_eq!(unless_lost(store.hand_back(lease, in_hours(-1), counts).await)?, held.map(|_| ()));
            match held {
                Some(n) if model.0[n].cancel => model.end(n, "cancelled"),
                Some(n) => {
                    model.0[n].state = State::Queued;
                    model.0[n].runs -= i64::from(!counts);
                }
                None => {}
            }
        }
        Step::Cancel { job } => {
            let Some(n) = job.checked_rem(model.0.len()) else { return Ok(()) };
            let answer = store.cancel(id(n)).await;
            match model.0[n].state {
                State::Queued => {
                    prop_assert_eq!(answer.unwrap(), State::Done);
                    model.end(n, "cancelled");
                }
                State::Running if model.0[n].dies => {
                    prop_assert_eq!(answer.unwrap(), State::Done);
                    model.end(n, "cancelled");
                }
                State::Running => {
                    prop_assert_eq!(answer.unwrap(), State::Running);
                    model.0[n].cancel = true;
                }
                State::Done => prop_assert!(answer.is_err()),
            }
        }
        Step::Retry { job } => {
            let Some(n) = job.checked_rem(model.0.len()) else { return Ok(()) };
            let may = model.0[n].state == State::Done && model.is_newest(n);
            prop_assert_eq!(store.retry(id(n), true).await.is_ok(), may);
            if may {
                model.queue_again(n);
            }
        }
    }
    Ok(())
}

/// The jobs of the store in the words of the model. Whether a lease runs out, and what has regressed, is the model's own
/// knowledge.
async fn seen(store: &dyn Store, model: &Model) -> Vec<Expected> {
    let mut jobs = jobs(store, None, 1_000).await;
    jobs.reverse();
    jobs.into_iter()
        .enumerate()
        .map(|(n, job)| Expected {
            issue: job.key.issue.parse().unwrap(),
            epoch: job.key.epoch,
            state: job.state,
            runs: job.runs,
            fence: job.fence,
            cancel: job.cancel_requested,
            dies: model.0.get(n).is_some_and(|expected| expected.dies),
            regressed: model.0.get(n).is_some_and(|expected| expected.regressed),
            outcome: job.outcome.map(|outcome| outcome.name()),
        })
        .collect()
}

/// `None` for a lease that was lost.
fn unless_lost<T>(result: Result<T, StoreError>) -> Result<Option<T>, TestCaseError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::LeaseLost(_)) => Ok(None),
        Err(other) => Err(TestCaseError::fail(other.to_string())),
    }
}

fn terms(dies: bool) -> Claim {
    let base = if dies { claim_and_die() } else { claim() };
    Claim { per_repository: PER_REPOSITORY, max_runs: MAX_RUNS, ..base }
}

fn repository(issue: u8) -> String {
    format!("acme/{}", issue % 2)
}

fn id(index: usize) -> JobId {
    JobId(i64::try_from(index).unwrap() + 1)
}

fn index(job: JobId) -> usize {
    usize::try_from(job.0).unwrap() - 1
}
