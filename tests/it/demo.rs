//! The whole path, driven through the binary on the demo's own repository.
//!
//! Invariant: each test has a folder of its own; what it looks at is what a person would find there.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use patchwright::cli::setup::install_crypto;
use patchwright::source::sentry::signature;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::fake::sentry::{self, FakeSentry};
use crate::held::Held;

/// How long a demo may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(60);
const BINARY: &str = env!("CARGO_BIN_EXE_patchwright");
const SCRIPTED_AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/scripted_agent.py");
const ALERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/alert.json");

/// A program with nothing of our environment but the way to other programs.
fn run(binary: &Path, arguments: &[&str]) -> Output {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Command::new(binary).args(arguments).env_clear().env("PATH", path).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A finished demo, whose configuration is used for more.
struct Demo {
    folder: tempfile::TempDir,
}

impl Demo {
    fn done() -> Self {
        let demo = Self { folder: tempfile::tempdir().unwrap() };
        let output = run(Path::new(BINARY), &["demo", "--dir", demo.path("demo").to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output));
        demo
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn patchwright(&self, arguments: &[&str]) -> Output {
        let config = self.path("demo/patchwright.toml");
        run(Path::new(BINARY), &[&["--config", config.to_str().unwrap()], arguments].concat())
    }

    fn pull_request(&self, number: u64) -> PathBuf {
        self.path(&format!("demo/forge/acme/shop.pulls/{number}.json"))
    }

    /// What a person does on the directory forge.
    fn set_state(&self, number: u64, state: &str) {
        let file = self.pull_request(number);
        let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(record["state"], "open");
        record["state"] = state.into();
        std::fs::write(&file, record.to_string()).unwrap();
    }
}

/// A demo whose output is read as it comes; killed with this value.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    output: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = tokio::process::Command::new(BINARY);
        command.arg("demo").args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, output: String::new() }
    }

    /// Reads until a line holds this text, or to the end; answers the line.
    async fn line(&mut self, text: Option<&str>) -> Option<String> {
        let found = tokio::time::timeout(DEADLINE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.output.push_str(&format!("{line}\n"));
                if text.is_some_and(|text| line.contains(text)) {
                    return Some(line);
                }
            }
            None
        });
        found.await.unwrap()
    }

    fn interrupt(&self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    }

    /// The rest of what it prints, and its exit code.
    async fn ended(mut self) -> (String, Option<i32>) {
        self.line(None).await;
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap();
        (self.output, status.code())
    }
}

/// A database that is somebody else's: it does not even have to be one.
const FOREIGN: &str = "not to be opened by a demo";

#[tokio::test]
async fn a_demo_keeps_away_from_the_service_that_its_environment_configures() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("production.db"), FOREIGN).unwrap();
    let sentry = FakeSentry::start().await;
    let mut command = tokio::process::Command::new(BINARY);
    command.args(["demo", "--dir", &path("demo")]).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("DATABASE_URL", format!("sqlite:{}", path("production.db")));
    command.env("SENTRY_URL", sentry.url()).env("SENTRY_ORG", "acme").env("SENTRY_AUTH_TOKEN", sentry::TOKEN);
    command.env("SENTRY_WEBHOOK_SECRET", "theirs").env("GITHUB_TOKEN", "ghp_theirs");
    command.env("PATCHWRIGHT_DATA_DIR", path("data")).env("PATCHWRIGHT_CONFIG", path("absent.toml"));
    command.env("PATCHWRIGHT_SERVER__LISTEN", "0.0.0.0:0").env("PATCHWRIGHT_FORGE__KIND", "github");
    command.env("http_proxy", sentry.url());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("listening on http://127.0.0.1:"), "{}", text(&output));
    assert!(sentry.log().is_empty(), "{:?}", sentry.log());
    assert_eq!(std::fs::read_to_string(path("production.db")).unwrap(), FOREIGN);
    assert!(!Path::new(&path("data")).exists());
    // Nor do its links lead to anybody: names below `.example` belong to nobody.
    let body = std::fs::read_to_string(path("demo/forge/acme/shop.pulls/1.md")).unwrap();
    let hosts: Vec<&str> = body.split("://").skip(1).filter_map(|rest| rest.split('/').next()).collect();
    assert!(hosts.iter().all(|host| host.ends_with(".example")), "{hosts:?}");
}

#[test]
fn a_demo_takes_no_configuration_but_its_own() {
    for arguments in [["--config", "patchwright.toml", "demo"], ["demo", "--set", "worker.count=1"]] {
        let output = run(Path::new(BINARY), &arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains("leave out --config and --set"), "{}", text(&output));
    }
}

#[test]
fn a_demo_that_cannot_begin_leaves_no_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    for (agent, complaint) in [("no-such-agent", "neither a profile"), ("mine --in {promt_file}", "did you mean")] {
        let output = run(Path::new(BINARY), &["demo", "--dir", demo.to_str().unwrap(), "--agent", agent]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(complaint), "{}", text(&output));
        assert!(!demo.exists(), "{agent}");
    }
}

#[tokio::test]
async fn a_demo_that_is_interrupted_ends_its_agent_and_says_where_it_is() {
    let held = Held::new();
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo").display().to_string();
    let running = Running::start(&["--dir", &demo, "--agent", &held.wait_here("agent")]);
    held.reached("agent", 1).await;
    running.interrupt();
    let (output, code) = running.ended().await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&format!("rm -rf {demo}")), "{output}");
    assert_eq!(held.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_demo_that_keeps_serving_takes_more_alerts_and_says_how_to_send_them() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    let mut running = Running::start(&["--dir", demo.to_str().unwrap(), "--keep-serving"]);
    let serving = running.line(Some("Serving on http://")).await.unwrap();
    let command = running.line(Some("curl ")).await.unwrap();
    let (secret, alert) = (demo.join("webhook-secret"), demo.join("alert.json"));
    for file in [&secret, &alert] {
        assert!(command.contains(file.to_str().unwrap()), "{command}");
    }
    let alert = std::fs::read_to_string(alert).unwrap().replace("4815162342", "4815162343");
    let signature = signature::sign(&std::fs::read_to_string(secret).unwrap(), alert.as_bytes());
    let url = command.split(' ').find(|word| word.starts_with("http://")).unwrap();
    assert!(serving.contains(url.trim_end_matches("/webhooks/sentry")), "{serving}");
    install_crypto();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).header("Content-Type", "application/json");
    let request = request.header("Sentry-Hook-Resource", "event_alert").header("Sentry-Hook-Signature", signature);
    assert_eq!(request.body(alert).send().await.unwrap().status(), 202);
    running.interrupt();
    let (output, code) = running.ended().await;
    assert_eq!(code, Some(0), "{output}");
}

#[test]
fn the_command_that_a_demo_ends_with_works_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("it's my demo");
    let output = run(Path::new(BINARY), &["demo", "--dir", demo.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let printed = text(&output);
    let command = printed.lines().find_map(|line| line.trim().strip_prefix("look again")).unwrap();
    let shown = run(Path::new("/bin/sh"), &["-c", command]);
    assert!(shown.status.success() && text(&shown).contains("opened"), "{command}\n{}", text(&shown));
}

#[test]
fn a_job_goes_on_when_an_upgrade_replaces_the_program_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let (binary, demo) = (folder.path().join("patchwright"), folder.path().join("demo"));
    std::fs::copy(BINARY, &binary).unwrap();
    let agent = format!(
        "cp /bin/false '{new}' && mv '{new}' '{binary}' && python3 '{SCRIPTED_AGENT}'",
        new = folder.path().join("new").display(),
        binary = binary.display()
    );
    let output = run(&binary, &["demo", "--dir", demo.to_str().unwrap(), "--agent", &agent]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!run(&binary, &["--version"]).status.success(), "the program was not replaced");
}

#[test]
fn a_person_who_asks_again_gets_another_pull_request_after_a_closed_one() {
    let demo = Demo::done();
    demo.set_state(1, "closed");
    // The same change by the same agent in the same second would be the same commit.
    let output = demo.patchwright(&["--set", "git.author_name=The second run", "run", ALERT]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(demo.pull_request(2).exists(), "{}", text(&output));
}

#[test]
fn an_open_pull_request_is_found_again_and_not_opened_twice() {
    let demo = Demo::done();
    let output = demo.patchwright(&["run", ALERT]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!demo.pull_request(2).exists(), "{}", text(&output));
}

#[test]
fn a_folder_of_a_monorepo_that_is_not_there_is_named_with_the_key_to_correct() {
    let demo = Demo::done();
    demo.set_state(1, "closed");
    let config = demo.path("demo/patchwright.toml");
    // The project is the file's last table.
    let text_before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text_before}path = \"services/shop\"\n")).unwrap();
    let output = demo.patchwright(&["run", ALERT]);
    assert!(!output.status.success());
    assert!(text(&output).contains("`path` of project `acme/shop` is services/shop"), "{}", text(&output));
}
