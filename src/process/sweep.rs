//! The belt to the supervisor's braces: ends what is left of a run whose supervisor was killed or frozen.
//!
//! Invariant: only processes that come from the run are touched: those under its supervisor, in the supervisor's session, or
//! with the run's mark in their environment, those that came to us as orphans, and what all these have started.
//!
//! A process that kills its supervisor *and* has changed its session *and* has wiped its environment *and* whose parents are
//! gone looks like any other process of the same user. It is found because the kernel makes it a child of ours
//! (`adopt_orphans`): some run that has lost its supervisor left it behind, whichever that was.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::time::{Instant, sleep};

use super::children::{look_around, reap};
use super::tree::{Process, families};

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(10);
/// A process that does not obey SIGKILL for so long hangs in the kernel; nobody can end it.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many rounds in a row have to find nothing: a single walk of `/proc` can miss a process that moves while it runs.
const QUIET_ROUNDS: u32 = 2;

/// Ends all processes of a run but the supervisor itself, and says how many there were. The supervisor must not have been
/// reaped yet, so that its number is still its own.
pub(super) async fn sweep(supervisor: Pid, mark: &str) -> usize {
    let start = Instant::now();
    let mut ended = HashSet::new();
    let mut quiet = 0;
    while quiet < QUIET_ROUNDS && start.elapsed() < PATIENCE {
        let mark = mark.to_owned();
        // Reading the memory of hostile processes may block.
        let round = tokio::task::spawn_blocking(move || kill_once(supervisor, &mark));
        let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, round).await else { break };
        if found.is_empty() {
            quiet += 1;
            continue;
        }
        quiet = 0;
        ended.extend(found.iter().map(|process| process.pid));
        sleep(ROUND).await;
    }
    ended.len()
}

/// Kills all that is there now; gives those that were alive.
fn kill_once(supervisor: Pid, mark: &str) -> Vec<Process> {
    let session = supervisor.as_raw_pid();
    let (all, adopted) = look_around();
    let is_adopted = |process: &Process| adopted.contains(&process.pid.as_raw_pid());
    let mut found =
        families(&all, |process| process.session == session || is_adopted(process) || process.has_variable(mark));
    found.retain(|process| process.pid != supervisor);
    for process in &found {
        process.signal(Signal::KILL);
        if is_adopted(process) {
            reap(process);
        }
    }
    // The dead ones got their signal too, for the sake of threads that outlive the main one, but nothing is to be waited
    // for: whoever is their parent now may never reap them.
    found.retain(|process| !process.zombie);
    found
}
