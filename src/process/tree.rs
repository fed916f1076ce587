//! Finds processes in `/proc` by what they cannot easily shed, and signals exactly the process that was found.
//!
//! Invariant: a signal goes to the process that was seen, never to another that was given its number since.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// The kernel gives a new program at most 6 MiB of arguments and environment (`execve(2)`, "Limits").
const ENVIRONMENT_MAX: u64 = 8 << 20;

/// One process as `/proc/<pid>/stat` shows it (proc_pid_stat(5)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: Pid,
    /// The number of its parent; 0 for the first process.
    pub(super) parent: i32,
    /// The number of its session; survives the end of its parent and a change of environment.
    pub(super) session: i32,
    /// When it started, in clock ticks since boot: tells it from a later process with the same number.
    pub(super) started: u64,
    /// Its main thread has ended. Usually it only waits to be reaped, but other threads of it may still run.
    pub(super) zombie: bool,
}

/// Every process that is visible now. Those that end during the walk are left out.
pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| look(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?)).collect()
}

/// The processes of `all` that come from one that `is_root` accepts: that one itself, its children, theirs, and so on.
pub(super) fn families(all: &[Process], is_root: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = BTreeMap::new();
    let mut open: Vec<Process> = all.iter().filter(|process| is_root(process)).copied().collect();
    while let Some(process) = open.pop() {
        if found.insert(process.pid.as_raw_pid(), process).is_none() {
            open.extend(children.get(&process.pid.as_raw_pid()).into_iter().flatten());
        }
    }
    found.into_values().collect()
}

impl Process {
    /// Sends a signal to this very process; one that has ended in the meantime is left alone.
    pub(super) fn signal(&self, signal: Signal) {
        match pidfd_open(self.pid, PidfdFlags::empty()) {
            // The number was pinned first and looked at second, so what is signalled is what was compared.
            Ok(pinned) if self.is_still_there() => {
                let _ = pidfd_send_signal(pinned, signal);
            }
            // No pidfd in this sandbox or kernel: between this look and the signal a whole round of numbers would
            // have to be used up to hit another process.
            Err(Errno::NOSYS | Errno::PERM | Errno::MFILE | Errno::NFILE) if self.is_still_there() => {
                let _ = kill_process(self.pid, signal);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Whether its environment holds `entry` (`NAME=value`) as it was when its program started. Not knowable for
    /// processes of other users, and gone where a program has wiped it.
    pub(super) fn has_variable(&self, entry: &str) -> bool {
        let mut environment = Vec::new();
        File::open(format!("/proc/{}/environ", self.pid.as_raw_pid()))
            .and_then(|file| file.take(ENVIRONMENT_MAX).read_to_end(&mut environment))
            .is_ok_and(|_| environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes()))
    }

    fn is_still_there(&self) -> bool {
        look(self.pid).is_some_and(|now| now.started == self.started)
    }
}

fn look(pid: Pid) -> Option<Process> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    parse(pid, &stat)
}

/// Reads the fields behind the program's name. The name is chosen by the process and may hold anything, brackets,
/// blanks and line ends too, so the fields are counted from its last closing bracket.
fn parse(pid: Pid, stat: &[u8]) -> Option<Process> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    Some(Process { pid, parent, session, started, zombie: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32) -> Process {
        Process { pid: Pid::from_raw(pid).unwrap(), parent, session: 1, started: 7, zombie: false }
    }

    #[test]
    fn a_process_cannot_lie_about_its_parent_through_its_name() {
        let tail = "S 41 42 43 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 8192 100 18446744073709551615";
        for name in ["sh", "a b", ") S 1 1 1 (", "two\nlines)", "((", "\u{fffd}"] {
            let stat = format!("40 ({name}) {tail}\n");
            let seen = parse(Pid::from_raw(40).unwrap(), stat.as_bytes()).unwrap();
            assert_eq!((seen.parent, seen.session, seen.started, seen.zombie), (41, 43, 987_654, false), "{name:?}");
        }
    }

    #[test]
    fn a_cut_or_empty_stat_is_no_process() {
        for stat in
            ["", "40 (sh", "40 (sh) S", "40 (sh) S 1 2 3 0 -1", "40 (sh) S x 2 3 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 9"]
        {
            assert_eq!(parse(Pid::from_raw(40).unwrap(), stat.as_bytes()), None, "{stat}");
        }
    }

    #[test]
    fn a_family_is_the_root_and_all_its_generations_and_nobody_else() {
        let all = [process(1, 0), process(10, 1), process(5, 10), process(6, 5), process(11, 1), process(12, 11)];
        let family = families(&all, |process| process.pid.as_raw_pid() == 10);
        assert_eq!(family.iter().map(|process| process.pid.as_raw_pid()).collect::<Vec<_>>(), [5, 6, 10]);
    }

    #[test]
    fn the_walk_finds_this_very_process_and_its_environment() {
        let own = processes().into_iter().find(|process| process.pid == rustix::process::getpid()).unwrap();
        let (name, value) = std::env::vars().find(|(name, _)| name == "PATH").unwrap();
        assert!(own.has_variable(&format!("{name}={value}")));
        assert!(!own.has_variable("PATCHWRIGHT_RUN=not-there"));
    }
}
