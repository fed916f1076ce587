//! Real programs that end, hang, flood, fork, hide and fight back; each one has to be gone afterwards.
//!
//! Invariant: every process of a test carries the test's token in its arguments, and each test proves by a walk of
//! `/proc` that none with its token is left.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test helper that fails fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use patchwright::limits::{Limits, Size, Span};
use patchwright::process::{Ended, ProcessError, Program, Report, Stop, Terms, ToolTerms, run_tool, run_untrusted};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_patchwright");
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Within this time everything has to have happened, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Detaches itself completely (two forks, a session of its own, no open files of ours), ignores what can be ignored, and
/// says so in the file `ready`. `$1` is the token.
const DAEMON: &str = r#"
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
os.setsid()
if os.fork(): os._exit(0)
null = os.open("/dev/null", os.O_RDWR)
for fd in (0, 1, 2): os.dup2(null, fd)
os.chdir("/")
open(sys.argv[2], "w").close()
time.sleep(600)
"#;
/// Starts the daemon and waits until it says that it is there.
const START_DAEMON: &str = r#"python3 daemon.py "$TOKEN" "$PWD/ready" & while [ ! -e ready ]; do sleep 0.02; done;"#;

/// A folder to run in, whose path is the token.
struct Stage {
    folder: TempDir,
    limits: Limits,
    cancel: CancellationToken,
    stopping: CancellationToken,
    lines: Option<mpsc::Sender<String>>,
    stdin: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("patchwright-process-").tempdir().unwrap();
        fs::write(folder.path().join("daemon.py"), DAEMON).unwrap();
        let minute = Span(Duration::from_secs(60));
        let limits = Limits { wall: minute, silence: minute, output: Size(64 << 20), disk: Size(1 << 30) };
        let (cancel, stopping) = (CancellationToken::new(), CancellationToken::new());
        Self { folder, limits, cancel, stopping, lines: None, stdin: Vec::new() }
    }

    fn token(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn program(&self, argv: &[&str]) -> Program {
        let env = [("PATH", PATH), ("TOKEN", self.token())];
        Program {
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            dir: self.folder.path().to_owned(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            stdin: self.stdin.clone(),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            limits: self.limits,
            folder: self.folder.path().to_owned(),
            supervisor: PathBuf::from(SUPERVISOR),
            cancel: self.cancel.clone(),
            stopping: self.stopping.clone(),
            lines: self.lines.clone(),
        }
    }

    fn tool_terms(&self) -> ToolTerms<'_> {
        ToolTerms { supervisor: Path::new(SUPERVISOR), timeout: DEADLINE, cancel: &self.cancel, holds: None }
    }

    async fn try_run(&self, argv: &[&str]) -> Result<Report, ProcessError> {
        let (program, terms) = (self.program(argv), self.terms());
        tokio::time::timeout(DEADLINE, run_untrusted(&program, &terms)).await.expect("the run ends in time")
    }

    /// Runs a shell script, and proves that nothing of it is left.
    async fn sh(&self, script: &str) -> Report {
        let report = self.try_run(&["sh", "-c", script, self.token()]).await.unwrap();
        self.assert_gone().await;
        report
    }

    /// The command lines of all living processes of this stage.
    fn alive(&self) -> Vec<String> {
        let commands = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&command).replace('\0', " "))
        });
        commands.filter(|command| command.contains(self.token())).collect()
    }

    async fn assert_gone(&self) {
        let gone = until(|| self.alive().is_empty()).await;
        assert!(gone, "left behind: {:#?}", self.alive());
    }

    fn has(&self, file: &str) -> bool {
        self.folder.path().join(file).exists()
    }
}

/// Waits for a condition that nobody announces; `false` where it does not come true in time.
async fn until(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > DEADLINE {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

#[tokio::test]
async fn the_code_of_a_program_is_reported() {
    let report = Stage::new().sh("echo done; exit 7").await;
    assert_eq!(
        (report.ended, report.tail.as_str(), report.printed, report.leftovers),
        (Ended::Exit(7), "done\n", 5, 0)
    );
}

#[tokio::test]
async fn the_signal_that_killed_a_program_is_reported() {
    assert_eq!(Stage::new().sh("kill -SEGV $$").await.ended, Ended::Signal(11));
}

#[tokio::test]
async fn a_signal_that_ends_us_as_well_counts_as_cancelled_and_no_other_one_does() {
    let stage = Stage::new();
    stage.stopping.cancel();
    assert_eq!(stage.sh("kill -TERM $$").await.ended, Ended::Stopped(Stop::Cancelled));
    // It cleans up and ends as if all were well, but its supervisor was told.
    let script = "trap 'exit 0' TERM; kill -TERM $PPID; while :; do sleep 0.02; done";
    assert_eq!(stage.sh(script).await.ended, Ended::Stopped(Stop::Cancelled));
    assert_eq!(stage.sh("kill -SEGV $$").await.ended, Ended::Signal(11));
    assert_eq!(Stage::new().sh("kill -TERM $$").await.ended, Ended::Signal(15));
}

#[tokio::test]
async fn output_and_errors_come_in_the_order_in_which_they_were_printed() {
    let report = Stage::new().sh("for n in 1 2 3 4; do echo out $n; echo err $n >&2; done").await;
    assert_eq!(report.tail, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nout 4\nerr 4\n");
}

#[tokio::test]
async fn a_large_input_is_written_while_the_output_is_read() {
    let stage = Stage { stdin: b"0123456\n".repeat(1 << 17), ..Stage::new() };
    let report = stage.sh("cat").await;
    assert_eq!((report.ended, report.printed), (Ended::Exit(0), 1 << 20));
    assert_eq!(report.tail, "0123456\n".repeat(1 << 13));
}

#[tokio::test]
async fn an_input_that_nobody_reads_is_no_error() {
    let stage = Stage { stdin: vec![b'x'; 1 << 20], ..Stage::new() };
    assert_eq!(stage.sh("exec <&-; exit 3").await.ended, Ended::Exit(3));
}

#[tokio::test]
async fn the_environment_is_what_was_given_and_the_mark_of_the_run() {
    let stage = Stage::new();
    let report = stage.try_run(&["env"]).await.unwrap();
    let mut variables: BTreeSet<&str> = report.tail.lines().collect();
    let mark = variables.pop_first().unwrap().strip_prefix("PATCHWRIGHT_RUN=").unwrap();
    assert!(mark.len() == 32 && mark.chars().all(|digit| digit.is_ascii_hexdigit()), "{mark}");
    let token = format!("TOKEN={}", stage.token());
    assert_eq!(variables, BTreeSet::from([format!("PATH={PATH}").as_str(), token.as_str()]));
}

#[tokio::test]
async fn a_program_gets_no_way_to_its_supervisor_and_no_new_rights() {
    let script = r"
import os, resource, stat
same = os.fstat(1).st_ino == os.fstat(2).st_ino and stat.S_ISFIFO(os.fstat(2).st_mode)
def is_socket(fd):
    try: return stat.S_ISSOCK(os.fstat(int(fd)).st_mode)
    except OSError: return False
print('sockets', [fd for fd in os.listdir('/proc/self/fd') if is_socket(fd)], same)
print([line for line in open('/proc/self/status') if line.startswith('NoNewPrivs')][0].split())
print('core', resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_FSIZE)[1])
print('terminal', os.path.exists('/dev/tty') and os.system('(exec </dev/tty) 2>/dev/null') == 0)
print('group', os.getpgid(0) == os.getpid(), os.getsid(0) == os.getppid())
";
    let report = Stage::new().try_run(&["python3", "-c", script]).await.unwrap();
    let expected = "sockets [] True\n['NoNewPrivs:', '1']\ncore (0, 0) 1073741824\nterminal False\ngroup True True\n";
    assert_eq!(report.tail, expected);
}

#[tokio::test]
async fn a_flood_is_cut_off_quickly() {
    let stage = Stage::new();
    let stage = Stage { limits: Limits { output: Size(1 << 20), ..stage.limits }, ..stage };
    let report = stage.sh("exec cat /dev/zero").await;
    assert_eq!(report.ended, Ended::Stopped(Stop::Output(Size(1 << 20))));
    assert!(report.printed > 1 << 20 && report.tail.len() == 64 << 10);
}

#[tokio::test]
async fn a_flood_that_ends_by_itself_is_still_too_much() {
    let stage = Stage::new();
    let stage = Stage { limits: Limits { output: Size(1000), ..stage.limits }, ..stage };
    let report = stage.sh("head -c 1001 /dev/zero").await;
    assert_eq!((report.ended, report.printed), (Ended::Stopped(Stop::Output(Size(1000))), 1001));
}

#[tokio::test]
async fn a_hundred_mebibytes_are_read_though_nobody_takes_the_lines() {
    let (sender, mut receiver) = mpsc::channel(4);
    let stage = Stage { lines: Some(sender), ..Stage::new() };
    let stage = Stage { limits: Limits { output: Size(200 << 20), ..stage.limits }, ..stage };
    let report = stage.sh("yes 'a line that is a little longer than just a few bytes' | head -c 104857600").await;
    assert_eq!((report.ended, report.printed), (Ended::Exit(0), 100 << 20));
    receiver.close();
    let mut taken = 0;
    while receiver.recv().await.is_some() {
        taken += 1;
    }
    assert_eq!(taken, 4);
}

#[tokio::test]
async fn lines_arrive_while_the_program_runs_and_none_is_lost() {
    let (sender, mut receiver) = mpsc::channel(4);
    let stage = Stage { lines: Some(sender), ..Stage::new() };
    let (program, terms) =
        (stage.program(&["sh", "-c", "seq 1000; while [ ! -e go ]; do sleep 0.02; done"]), stage.terms());
    let run = tokio::spawn(async move { run_untrusted(&program, &terms).await });
    for expected in 1..=1000 {
        assert_eq!(receiver.recv().await, Some(expected.to_string()));
    }
    fs::write(stage.folder.path().join("go"), "").unwrap();
    assert_eq!(run.await.unwrap().unwrap().ended, Ended::Exit(0));
}

#[tokio::test]
async fn a_line_of_five_megabytes_and_bytes_that_are_no_text_do_no_harm() {
    let (sender, mut receiver) = mpsc::channel(9);
    let stage = Stage { lines: Some(sender), ..Stage::new() };
    let report = stage.sh(r"head -c 5000000 /dev/zero | tr '\0' x; printf '\n\377\376ok\nend'").await;
    assert_eq!((report.ended, report.printed), (Ended::Exit(0), 5_000_009));
    assert!(report.tail.ends_with("xx\n\u{FFFD}\u{FFFD}ok\nend"));
    let long = receiver.recv().await.unwrap();
    assert!(long.len() <= 8 << 10 && long.ends_with("x…"), "{}", long.len());
    assert_eq!(receiver.recv().await.unwrap(), "\u{FFFD}\u{FFFD}ok");
    assert_eq!(receiver.recv().await.unwrap(), "end");
}

#[tokio::test]
async fn silence_ends_a_program() {
    let stage = Stage::new();
    let stage = Stage { limits: Limits { silence: millis(2_000), ..stage.limits }, ..stage };
    let report = stage.sh("echo hello; sleep 600").await;
    assert_eq!((report.ended, report.tail.as_str()), (Ended::Stopped(Stop::Silence(millis(2_000))), "hello\n"));
}

#[tokio::test]
async fn a_program_that_keeps_talking_ends_at_its_wall_time() {
    let stage = Stage::new();
    // Longer than the silence that is allowed, which no busy machine stretches a twentieth of a second to.
    let stage = Stage { limits: Limits { wall: millis(4_000), silence: millis(3_000), ..stage.limits }, ..stage };
    let report = stage.sh("while :; do echo .; sleep 0.05; done").await;
    assert_eq!(report.ended, Ended::Stopped(Stop::Wall(millis(4_000))));
    assert!(report.took >= Duration::from_millis(4_000));
}

#[tokio::test]
async fn two_hundred_processes_that_ignore_sigterm_end_within_moments() {
    let stage = Stage::new();
    let script = r#"trap '' TERM HUP INT; n=0
        while [ $n -lt 200 ]; do sh -c 'while :; do sleep 600; done' "$TOKEN" & n=$((n+1)); done; echo all; wait"#;
    let (sender, mut receiver) = mpsc::channel(9);
    let stage = Stage { lines: Some(sender), ..stage };
    let (run, started) = tokio::join!(stage.sh(script), async {
        receiver.recv().await.unwrap();
        stage.cancel.cancel();
        Instant::now()
    });
    assert_eq!(run.ended, Ended::Stopped(Stop::Cancelled));
    assert!(run.leftovers >= 200, "{}", run.leftovers);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_gone_soon_after_cancelling() {
    let (sender, mut receiver) = mpsc::channel(9);
    let stage = Stage { lines: Some(sender), ..Stage::new() };
    let (program, terms) =
        (stage.program(&["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 600; done"]), stage.terms());
    let run = tokio::spawn(async move { run_untrusted(&program, &terms).await });
    receiver.recv().await.unwrap();
    let start = Instant::now();
    stage.cancel.cancel();
    assert_eq!(run.await.unwrap().unwrap().ended, Ended::Stopped(Stop::Cancelled));
    assert!(start.elapsed() < DEADLINE / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_daemon_does_not_outlive_its_program() {
    let stage = Stage::new();
    let report = stage.sh(&format!("{START_DAEMON} exit 0")).await;
    assert_eq!((report.ended, report.leftovers), (Ended::Exit(0), 1));
}

#[tokio::test]
async fn a_daemon_with_a_wiped_environment_does_not_outlive_its_program() {
    let stage = Stage::new();
    let report =
        stage.sh(&format!("{} exit 0", START_DAEMON.replacen("python3", "env -i PATH=\"$PATH\" python3", 1))).await;
    assert_eq!((report.ended, report.leftovers), (Ended::Exit(0), 1));
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_open_does_not_hold_us_up() {
    let stage = Stage::new();
    let start = Instant::now();
    let report = stage.sh(r#"setsid sh -c 'while :; do sleep 600; done' "$TOKEN" & echo started"#).await;
    assert_eq!((report.ended, report.tail.as_str()), (Ended::Exit(0), "started\n"));
    assert!(report.leftovers >= 1 && start.elapsed() < DEADLINE);
}

#[tokio::test]
async fn a_program_that_kills_its_supervisor_is_gone_with_its_daemon_and_was_no_success() {
    let stage = Stage::new();
    let report = stage.sh(&format!("{START_DAEMON} kill -KILL $PPID; sleep 600")).await;
    assert_eq!(report.ended, Ended::Signal(9));
    assert!(report.leftovers >= 2, "{}", report.leftovers);
}

#[tokio::test]
async fn a_program_whose_supervisor_ends_before_all_are_gone_was_no_success() {
    for (end, signal) in [("kill -TERM $$", 15), ("exit 0", 9)] {
        let stage = Stage::new();
        let supervisor = stage.folder.path().join("supervisor");
        fs::write(&supervisor, format!("#!/bin/sh\nprintf 'ready\nexit 0\n' >&2\n{end}\n")).unwrap();
        fs::set_permissions(&supervisor, fs::Permissions::from_mode(0o755)).unwrap();
        let terms = Terms { supervisor, ..stage.terms() };
        let report = run_untrusted(&stage.program(&["true"]), &terms).await.unwrap();
        assert_eq!(report.ended, Ended::Signal(signal), "{end}");
    }
}

#[tokio::test]
async fn a_child_with_a_wiped_environment_is_found_by_its_session_when_the_supervisor_is_killed() {
    let stage = Stage::new();
    let script = r#"env -i sh -c 'echo up; while :; do sleep 600; done' "$TOKEN" & kill -KILL $PPID"#;
    assert_eq!(stage.sh(script).await.ended, Ended::Signal(9));
}

#[tokio::test]
async fn a_program_that_freezes_its_supervisor_is_ended_all_the_same() {
    let stage = Stage::new();
    let stage = Stage { limits: Limits { silence: millis(3_000), ..stage.limits }, ..stage };
    let report = stage.sh(&format!("{START_DAEMON} kill -STOP $PPID; sleep 600")).await;
    assert_eq!(report.ended, Ended::Stopped(Stop::Silence(millis(3_000))));
    assert!(stage.has("ready"), "it was ended before it came so far");
}

#[tokio::test]
async fn a_program_that_tells_its_supervisor_to_end_is_ended_itself() {
    let report =
        Stage::new().sh(&format!("trap '' TERM; {START_DAEMON} kill -TERM $PPID; while :; do sleep 600; done")).await;
    assert_eq!(report.ended, Ended::Signal(9));
}

#[tokio::test]
async fn the_tree_ends_when_the_process_that_started_the_supervisor_is_killed() {
    let stage = Stage::new();
    let starter = r"
import socket, subprocess, sys
ours, theirs = socket.socketpair()
command = [sys.argv[1], '__supervise', '1000000', '/bin/sh', '-c', sys.argv[2], sys.argv[3]]
child = subprocess.Popen(command, stderr=theirs, stdin=subprocess.DEVNULL)
theirs.close()
child.wait()
";
    let script = format!("{START_DAEMON} echo ready; while :; do sleep 600; done");
    let mut starter = Command::new("python3")
        .args(["-c", starter, SUPERVISOR, &script, stage.token()])
        .current_dir(stage.folder.path())
        .env("TOKEN", stage.token())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    starter.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert!(stage.has("ready") && stage.alive().len() >= 4, "{:?}", stage.alive());
    starter.kill().unwrap();
    starter.wait().unwrap();
    stage.assert_gone().await;
}

#[tokio::test]
async fn the_tree_ends_when_nobody_waits_for_it_any_more() {
    let (sender, mut receiver) = mpsc::channel(9);
    let stage = Stage { lines: Some(sender), ..Stage::new() };
    let script = format!("{START_DAEMON} echo ready; while :; do sleep 600; done");
    let (program, terms) = (stage.program(&["sh", "-c", &script, stage.token()]), stage.terms());
    tokio::select! {
        report = run_untrusted(&program, &terms) => panic!("ended early: {report:?}"),
        line = receiver.recv() => assert_eq!(line.as_deref(), Some("ready")),
    }
    stage.assert_gone().await;
}

#[tokio::test]
async fn a_folder_that_grows_too_large_ends_the_program() {
    let stage = Stage::new();
    let stage = Stage { limits: Limits { disk: Size(8 << 20), ..stage.limits }, ..stage };
    let report = stage.sh("mkdir a; for n in 1 2 3 4; do head -c 4000000 /dev/zero > a/$n; done; sleep 600").await;
    assert_eq!(report.ended, Ended::Stopped(Stop::Disk(Size(8 << 20))));
}

#[tokio::test]
async fn no_single_file_may_be_larger_than_the_disk_limit() {
    let stage = Stage::new();
    let stage = Stage { limits: Limits { disk: Size(8 << 20), ..stage.limits }, ..stage };
    let report = stage.sh("exec head -c 100000000 /dev/zero > large").await;
    assert_eq!(report.ended, Ended::Stopped(Stop::Disk(Size(8 << 20))));
    assert_eq!(fs::metadata(stage.folder.path().join("large")).unwrap().len(), 8 << 20);
}

#[tokio::test]
async fn holes_in_files_do_not_count_as_disk() {
    let stage = Stage::new();
    let stage = Stage { limits: Limits { disk: Size(8 << 20), ..stage.limits }, ..stage };
    // Two seconds, so that the folder is measured at least once.
    let report = stage.sh("for n in 1 2 3 4; do truncate -s 8000000 $n; done; sleep 2").await;
    assert_eq!(report.ended, Ended::Exit(0));
}

#[tokio::test]
async fn a_program_that_is_not_there_or_cannot_be_executed_is_an_error_that_says_so() {
    let stage = Stage::new();
    let error = stage.try_run(&["no-such-agent", "--fast"]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the program `no-such-agent` was not found on PATH ({PATH})"));
    let file = stage.folder.path().join("noise");
    fs::write(&file, [0x7F, 0, 1, 2]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let error = stage.try_run(&["./noise"]).await.unwrap_err().to_string();
    assert!(error.starts_with("`./noise` could not be started: Exec format error"), "{error}");
    fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    let error = stage.try_run(&["./noise"]).await.unwrap_err().to_string();
    assert!(error.starts_with("`./noise` could not be started: the interpreter that its first line"), "{error}");
}

#[tokio::test]
async fn a_supervisor_that_is_none_is_an_error_and_never_a_success() {
    let stage = Stage::new();
    let terms = Terms { supervisor: PathBuf::from("/bin/true"), ..stage.terms() };
    let error = run_untrusted(&stage.program(&["true"]), &terms).await.unwrap_err().to_string();
    assert!(error.starts_with("`/bin/true __supervise` could not be started: it ended without a word"), "{error}");
}

async fn tool(stage: &Stage, script: &str, timeout: Duration) -> patchwright::process::ToolOutput {
    let program = stage.program(&["sh", "-c", script, stage.token()]);
    let run = run_tool(&program, ToolTerms { timeout, ..stage.tool_terms() });
    tokio::time::timeout(DEADLINE, run).await.expect("the tool ends in time").unwrap()
}

#[tokio::test]
async fn a_tool_gives_its_whole_output_and_its_errors_apart() {
    let stage = Stage::new();
    fs::write(stage.folder.path().join("text"), b"0123456\n".repeat(1 << 17)).unwrap();
    let output = tool(&stage, "cat text; echo wrong >&2; exit 4", DEADLINE).await;
    assert_eq!((output.ended, output.stderr.as_str()), (Ended::Exit(4), "wrong\n"));
    assert_eq!(output.stdout, b"0123456\n".repeat(1 << 17));
}

#[tokio::test]
async fn a_tool_may_clean_up_at_its_time_out_and_its_group_is_gone() {
    let stage = Stage::new();
    let script = r#"trap 'echo cleaned; exit' TERM; sh -c 'trap "" TERM; touch up; while :; do sleep 600; done' "$TOKEN" & 
        while :; do sleep 0.02; done"#;
    let output = tool(&stage, script, Duration::from_secs(3)).await;
    assert_eq!(
        (output.ended, output.stdout.as_slice()),
        (Ended::Stopped(Stop::Wall(millis(3_000))), &b"cleaned\n"[..])
    );
    assert!(stage.has("up"));
    stage.assert_gone().await;
}

#[tokio::test]
async fn a_cancelled_or_abandoned_tool_is_gone() {
    let stage = Stage::new();
    let script = r#"sh -c 'trap "" TERM; touch up; while :; do sleep 600; done' "$TOKEN" & wait"#;
    let program = stage.program(&["sh", "-c", script, stage.token()]);
    tokio::select! {
        output = run_tool(&program, stage.tool_terms()) => panic!("ended early: {output:?}"),
        up = until(|| stage.has("up")) => assert!(up),
    }
    stage.assert_gone().await;
    fs::remove_file(stage.folder.path().join("up")).unwrap();
    let (output, ()) = tokio::join!(tool(&stage, script, DEADLINE), async {
        assert!(until(|| stage.has("up")).await);
        stage.cancel.cancel();
    });
    assert_eq!(output.ended, Ended::Stopped(Stop::Cancelled));
    stage.assert_gone().await;
}

#[tokio::test]
async fn a_daemon_of_a_tool_does_not_outlive_it() {
    let stage = Stage::new();
    let output = tool(&stage, &format!("{START_DAEMON} echo done"), DEADLINE).await;
    assert_eq!((output.ended, output.stdout.as_slice()), (Ended::Exit(0), &b"done\n"[..]));
    assert_eq!(stage.alive(), Vec::<String>::new());
}

#[tokio::test]
async fn a_tool_that_was_killed_is_said_to_be() {
    for signal in [9, 15] {
        let output = tool(&Stage::new(), &format!("kill -{signal} $$"), DEADLINE).await;
        assert_eq!(output.ended, Ended::Signal(signal));
    }
}

#[tokio::test]
async fn a_tool_ends_when_the_process_that_started_it_is_killed_and_its_lock_lasts_as_long() {
    let stage = Stage::new();
    let starter = r"
import fcntl, os, subprocess, sys
lock = open('lock', 'a')
fcntl.flock(lock, fcntl.LOCK_EX)
command = [sys.argv[1], '__supervise', 'tool', str(os.getpid()), '/bin/sh', '-c', sys.argv[2], sys.argv[3]]
subprocess.Popen(command, stdin=lock).wait()
";
    // Ignores the order to end, so that the lock is seen to outlast its owner.
    let script = format!("trap '' TERM; {START_DAEMON} echo ready; while :; do sleep 600; done");
    let mut starter = Command::new("python3")
        .args(["-c", starter, SUPERVISOR, &script, stage.token()])
        .current_dir(stage.folder.path())
        .env("TOKEN", stage.token())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lock = fs::File::options().create(true).append(true).open(stage.folder.path().join("lock")).unwrap();
    let mut ready = [0; 6];
    starter.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert!(lock.try_lock().is_err() && stage.alive().len() >= 4, "{:?}", stage.alive());
    starter.kill().unwrap();
    starter.wait().unwrap();
    lock.lock().unwrap();
    assert_eq!(stage.alive(), Vec::<String>::new(), "nobody else gets the lock earlier");
}

#[tokio::test]
async fn a_tool_is_never_taken_from_the_folder_it_works_in() {
    let stage = Stage::new();
    let file = stage.folder.path().join("git-of-theirs");
    fs::write(&file, "#!/bin/sh\necho pwned").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let mut program = stage.program(&["git-of-theirs"]);
    program.env.insert("PATH".into(), format!(".::{}", Path::new(PATH).display()));
    let error = run_tool(&program, stage.tool_terms()).await.unwrap_err();
    assert!(matches!(error, ProcessError::NotFound { .. }), "{error}");
}
