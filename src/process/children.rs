//! Knows the children that we started, and so those that came to us as orphans.
//!
//! Invariant: a child of ours that is not known here is an orphan that we adopted: starting and noting a child cannot
//! be parted by a look at the processes.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::process::{WaitOptions, child_subreaper, getpid, set_child_subreaper, waitpid};
use tokio::process::{Child, Command};

use super::tree::{Process, processes};

/// The numbers of the children that we started. Those that have ended are taken out at the next look.
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Has the kernel hand us what a run leaves behind when its supervisor was killed, instead of setting it free
/// (`PR_SET_CHILD_SUBREAPER`, prctl(2)). What came to us ends with the next sweep.
///
/// # Errors
/// Where the kernel refuses, as it may in an unusual sandbox.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Starts a child. All children of this process are started here.
pub(super) fn start(command: &mut Command) -> io::Result<Child> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    started.extend(child.id().and_then(|pid| i32::try_from(pid).ok()));
    Ok(child)
}

/// All processes, and those of them that we adopted: none where we are no subreaper, since our children may then be
/// somebody else's business.
pub(super) fn look_around() -> (Vec<Process>, BTreeSet<i32>) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = processes();
    let us = getpid().as_raw_pid();
    let children: BTreeSet<i32> =
        all.iter().filter(|process| process.parent == us).map(|process| process.pid.as_raw_pid()).collect();
    started.retain(|pid| children.contains(pid));
    let reaper = child_subreaper().is_ok_and(|reaper| reaper.is_some());
    let adopted = if reaper { children.difference(&started).copied().collect() } else { BTreeSet::new() };
    (all, adopted)
}

/// Takes note of the end of an adopted process, so that nothing is left of it. By its number: the ends of those that
/// we started are waited for elsewhere.
pub(super) fn reap(adopted: &Process) {
    let _ = waitpid(Some(adopted.pid), WaitOptions::NOHANG);
}
