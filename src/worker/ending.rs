//! What becomes of a job after a run.
//!
//! Invariant: plain rules. Only tries of ours that failed count; what a person, a stop of this process or a limit of somebody
//! else's cut short does not.

use chrono::TimeDelta;

use crate::clock::Moment;
use crate::job::Stage;
use crate::outcome::Outcome;
use crate::pipeline::Halt;

/// How long a job waits in all for those who ask it to wait, before a person has to look.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(24);

/// Why a run was told to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    ByPerson,
    LeaseLost,
    /// This process was told to end.
    ByShutdown,
}

/// How often a job was taken up, and how often it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tries {
    pub(super) made: i64,
    pub(super) most: u32,
    /// When an alert or a person queued the job.
    pub(super) since: Moment,
}

/// What becomes of a job after a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Another worker has it, or will have it.
    Elsewhere,
    /// It is done.
    Done(Outcome),
    /// It goes on later.
    Back { at: Moment, why: String, counts: bool },
}

impl Ending {
    pub(super) fn of(
        result: Result<Outcome, Halt>,
        told: Option<Told>,
        stage: Stage,
        tries: Tries,
        now: Moment,
    ) -> Self {
        match (result, told) {
            (Ok(outcome), _) => Self::Done(outcome),
            (Err(Halt::LeaseLost), _) | (Err(_), Some(Told::LeaseLost)) => Self::Elsewhere,
            // Whatever the run stumbled over on its way out, the person's wish is why it ended.
            (Err(_), Some(Told::ByPerson)) => Self::Done(Outcome::Cancelled),
            (Err(Halt::Later { at, why, .. }), Some(Told::ByShutdown)) => Self::Back { at, why, counts: false },
            // Nor does it show what is broken, when everything around it is being stopped.
            (Err(_), Some(Told::ByShutdown)) => {
                Self::Back { at: now, why: "this process was told to stop".to_owned(), counts: false }
            }
            (Err(Halt::Later { at, why, asked: true }), None) if now - tries.since < LONGEST_WAIT => {
                Self::Back { at: at.max(now + TimeDelta::seconds(1)), why, counts: false }
            }
            (Err(Halt::Later { why, asked: true, .. }), None) => {
                failed(stage, format!("waited for {} hours, and at the end {why}", (now - tries.since).num_hours()))
            }
            (Err(Halt::Later { at, why, .. }), None) => again(at, why, stage, tries, now),
            (Err(Halt::Cancelled), None) => again(now, "a signal from outside ended git".to_owned(), stage, tries, now),
            (Err(Halt::Broken { message }), None) => Self::Done(Outcome::Failed { stage, message }),
        }
    }
}

/// One more try, if there is one.
fn again(at: Moment, why: String, stage: Stage, tries: Tries, now: Moment) -> Ending {
    if tries.made < i64::from(tries.most) {
        return Ending::Back { at: at.max(now + pause_after(tries.made)), why, counts: true };
    }
    failed(stage, format!("tried {} times, and the last time {why}", tries.made))
}

fn failed(stage: Stage, what: String) -> Ending {
    let message = format!("{what}; when that is mended, `patchwright jobs retry` queues it again");
    Ending::Done(Outcome::Failed { stage, message })
}

/// The least pause after so many tries: 30 seconds, then 2 minutes, 8 minutes, half an hour. All tries of a job together
/// must outlast an ordinary outage of a forge.
fn pause_after(tries: i64) -> TimeDelta {
    let earlier = u32::try_from(tries.saturating_sub(1).clamp(0, 3)).unwrap_or_default();
    TimeDelta::seconds(30 * 4_i64.pow(earlier))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Tries = Tries { made: 1, most: 3, since: Moment::UNIX_EPOCH };
    const LAST: Tries = Tries { made: 3, most: 3, since: Moment::UNIX_EPOCH };

    fn ending(halt: Halt, told: Option<Told>, tries: Tries) -> Ending {
        Ending::of(Err(halt), told, Stage::Context, tries, Moment::UNIX_EPOCH)
    }

    fn later(seconds: i64) -> Halt {
        Halt::Later { at: Moment::UNIX_EPOCH + TimeDelta::seconds(seconds), why: "no answer".into(), asked: false }
    }

    fn rate_limit(seconds: i64) -> Halt {
        Halt::Later { at: Moment::UNIX_EPOCH + TimeDelta::seconds(seconds), why: "slow down".into(), asked: true }
    }

    /// The seconds from now to the next run.
    fn pause(halt: Halt, tries: Tries, does_count: bool) -> i64 {
        match ending(halt, None, tries) {
            Ending::Back { at, counts, .. } if counts == does_count => at.timestamp(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_that_a_person_stopped_is_cancelled_whatever_its_run_stumbled_over() {
        for halt in [Halt::Cancelled, later(0), Halt::broken("the disk is full")] {
            assert_eq!(ending(halt, Some(Told::ByPerson), LAST), Ending::Done(Outcome::Cancelled));
        }
    }

    #[test]
    fn a_worker_that_lost_its_lease_writes_nothing() {
        for halt in [Halt::Cancelled, later(0), Halt::broken("the disk is full")] {
            assert_eq!(ending(halt, Some(Told::LeaseLost), FIRST), Ending::Elsewhere);
        }
        assert_eq!(ending(Halt::LeaseLost, None, FIRST), Ending::Elsewhere);
    }

    #[test]
    fn a_shutdown_does_not_count_as_a_try_whatever_the_run_stumbled_over() {
        for halt in [Halt::Cancelled, later(0), Halt::broken("git fetch: early EOF")] {
            assert!(matches!(ending(halt, Some(Told::ByShutdown), LAST), Ending::Back { counts: false, .. }));
        }
        assert_eq!(ending(Halt::LeaseLost, Some(Told::ByShutdown), FIRST), Ending::Elsewhere);
    }

    #[test]
    fn a_program_that_a_signal_of_somebody_else_ended_is_tried_again_and_that_counts() {
        assert_eq!(pause(Halt::Cancelled, FIRST, true), 30);
        assert!(matches!(ending(Halt::Cancelled, None, LAST), Ending::Done(Outcome::Failed { .. })));
    }

    #[test]
    fn the_pauses_grow_and_never_cut_a_wait_that_is_longer() {
        let seconds = |made, at| pause(later(at), Tries { made, most: 9, ..FIRST }, true);
        assert_eq!([1, 2, 3, 4, 8].map(|made| seconds(made, 30)), [30, 120, 480, 1920, 1920]);
        assert_eq!([1, 8].map(|made| seconds(made, 3_600)), [3_600, 3_600]);
    }

    #[test]
    fn where_nobody_asked_for_a_wait_the_first_one_is_half_a_minute() {
        let now = crate::clock::now();
        let Ending::Back { at, .. } = Ending::of(Err(Halt::soon("no answer")), None, Stage::Mirror, FIRST, now) else {
            panic!("not back")
        };
        assert!((30..60).contains(&(at - now).num_seconds()), "{at} at {now}");
    }

    #[test]
    fn a_rate_limit_is_waited_out_as_asked_and_does_not_count() {
        assert_eq!([1, 30, 3_600].map(|asked| pause(rate_limit(asked), LAST, false)), [1, 30, 3_600]);
        assert_eq!(pause(rate_limit(-9), LAST, false), 1, "one that is over already does not make us run in circles");
    }

    #[test]
    fn rate_limits_are_not_waited_out_for_ever() {
        let since = Moment::UNIX_EPOCH - LONGEST_WAIT;
        let Ending::Done(outcome) = ending(rate_limit(60), None, Tries { since, ..FIRST }) else { panic!("not done") };
        assert!(outcome.to_string().contains("waited for 24 hours, and at the end slow down"), "{outcome}");
    }

    #[test]
    fn the_last_try_ends_the_job_with_the_reason() {
        let Ending::Done(outcome) = ending(later(0), None, LAST) else { panic!("not done") };
        assert!(outcome.to_string().contains("tried 3 times, and the last time no answer"), "{outcome}");
    }
}
