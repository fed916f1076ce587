//! The whole path, driven through the binary on the demo's own repository.
//!
//! Invariant: each test has a folder of its own; what it looks at is what a person would find there.

#![expect(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    let output = demo.patchwright(&["run", ALERT]);
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
