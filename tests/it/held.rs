//! Commands that wait for the test, count their runs and can be found in `/proc`.
//!
//! Invariant: every process that such a command starts on purpose names the test's own folder in its command line.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::program::{FIXER, eventually};

/// A folder outside of all workspaces in which commands leave notes and wait for a word.
pub(crate) struct Held {
    folder: TempDir,
}

impl Held {
    /// A new folder; nobody may go on yet.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// The path of a note, for use in a shell command.
    pub(crate) fn note(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Shell: notes that it got here, then waits for [`Held::go`].
    pub(crate) fn wait_here(&self, name: &str) -> String {
        let (note, go) = (self.note(name), self.note("go"));
        format!("echo here >> {}; until [ -e {} ]; do sleep 0.05; done", note.display(), go.display())
    }

    /// An agent that leaves the session with a child of its own, waits for a word, and then fixes the sample repository
    /// in a way that differs from run to run.
    pub(crate) fn agent(&self) -> String {
        let (daemon, wait) = (self.note("daemon"), self.wait_here("agent"));
        let (daemon, runs) = (daemon.display(), self.note("agent").display().to_string());
        format!(
            "rm -f {daemon}\n\
             setsid sh -c 'echo $$ > {daemon}; sleep 300; :' </dev/null >/dev/null 2>&1 &\n\
             until [ -s {daemon} ]; do sleep 0.05; done\n\
             {wait}\n{FIXER}\necho \"# run $(wc -l < {runs})\" >> app.sh\n"
        )
    }

    /// As [`Held::agent`], and says in its summary which run it is: "this is run 2".
    pub(crate) fn counting_agent(&self) -> String {
        let (agent, runs) = (self.agent(), self.note("agent").display().to_string());
        format!(
            "{agent}\nprintf '{{\"verdict\": \"fix\", \"summary\": \"this is run %s\"}}' $(wc -l < {runs}) > \
             \"$PATCHWRIGHT_RESULT_FILE\"\n"
        )
    }

    /// Lets everybody go on who waits now or later.
    pub(crate) fn go(&self) {
        std::fs::write(self.note("go"), "").unwrap();
    }

    /// How often a command got to this point.
    pub(crate) fn times(&self, name: &str) -> usize {
        std::fs::read_to_string(self.note(name)).map_or(0, |notes| notes.lines().count())
    }

    /// Waits until a command has got to this point so many times.
    pub(crate) async fn reached(&self, name: &str, times: usize) {
        let reached = eventually(async || (self.times(name) >= times).then_some(())).await;
        assert!(reached.is_some(), "`{name}` was reached {} times instead of {times}", self.times(name));
    }

    /// The command lines of all processes that name this folder.
    pub(crate) fn processes(&self) -> Vec<String> {
        processes_naming(&self.folder.path().display().to_string())
    }

    /// Waits until no process names this folder.
    pub(crate) async fn all_processes_are_gone(&self) {
        let gone = eventually(async || self.processes().is_empty().then_some(())).await;
        assert!(gone.is_some(), "still there: {:#?}", self.processes());
    }
}

/// The command lines of all processes that hold this text.
pub(crate) fn processes_naming(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let of_processes = entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    // A process may end between the listing and the look.
    let lines = of_processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(text)).collect()
}
