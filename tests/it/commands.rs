//! The commands as a user meets them: exit codes, what is printed where, and what a mistake is answered with.
//!
//! Invariant: only the real program is started, in a folder with a configuration, and only its output is looked at.

mod doctor;
mod project;
mod secrets;

use std::process::{Output, Stdio};

use patchwright::job::{JobId, State};
use serde_json::Value;

use crate::program::{Described, FIXER, Service, alert};

/// Exit code, standard output, standard error.
fn seen(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A prepared folder with a webhook's payload `alert.json` in it.
async fn with_payload(described: Described) -> Service {
    let service = described.prepare().await;
    std::fs::write(service.folder().join("alert.json"), alert("1", "rule").to_string()).unwrap();
    service
}

#[tokio::test]
async fn init_writes_the_example_once_and_replaces_it_only_when_forced() {
    let service = Described::with_agent(FIXER).prepare().await;
    let (code, out, _) = seen(&service.run(&["init", "new.toml"]).await);
    assert!(code == 0 && out.starts_with("wrote new.toml") && out.contains("patchwright doctor"), "{out}");
    let file = service.folder().join("new.toml");
    let example = patchwright::config::EXAMPLE.replacen("./docs/", "./", 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), example);
    let schema = service.folder().join("patchwright.schema.json");
    assert_eq!(std::fs::read_to_string(&schema).unwrap(), patchwright::config::schema::json_schema());
    assert!(example.starts_with("#:schema ./patchwright.schema.json\n"), "it names the schema beside it");
    std::fs::write(&file, "# mine").unwrap();
    let (code, _, error) = seen(&service.run(&["init", "new.toml"]).await);
    assert!(code == 2 && error.contains("new.toml is there already; use --force"), "{code} {error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine");
    assert_eq!(seen(&service.run(&["init", "new.toml", "--force"]).await).0, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), example);
}

#[tokio::test]
async fn the_printed_schema_is_the_published_one() {
    let service = Described::with_agent(FIXER).prepare().await;
    let (code, out, _) = seen(&service.run(&["init", "--schema"]).await);
    assert_eq!((code, out.trim_end()), (0, include_str!("../../docs/patchwright.schema.json").trim_end()));
}

#[tokio::test]
async fn prompt_prints_the_prompt_and_starts_no_agent_and_no_job() {
    let service = with_payload(Described::with_agent("touch \"$HOME/../../../../ran\"; exit 1")).await;
    let (code, out, error) = seen(&service.run(&["prompt", "alert.json", "--context", "ctx"]).await);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("DivisionByZero") && out.contains("app.sh") && out.contains("sh tests/run.sh"), "{out}");
    assert!(service.folder().join("ctx/INDEX.md").exists() && !service.folder().join("data/ran").exists());
    assert!(error.contains("context folder: ") && !out.contains("context folder: "), "{out}");
    assert!(!error.contains("webhook_secrets"), "{error}");
    assert!(!service.database().exists(), "there is no job to keep");
    patchwright::prompt::folder::make_removable(&service.folder().join("ctx")).unwrap();
}

#[tokio::test]
async fn a_mistake_in_a_template_is_found_before_anything_is_started() {
    let service = with_payload(Described::with_agent("touch ran")).await;
    let templates = service.folder().join("templates");
    std::fs::create_dir(&templates).unwrap();
    std::fs::write(templates.join("fix.md.j2"), "{{ fence }}\n{{ evidnce }}\n").unwrap();
    for command in [vec!["serve"], vec!["run", "alert.json"]] {
        let set = [command, vec!["--set", "prompt.dir=templates"]].concat();
        let (code, _, error) = seen(&service.run(&set).await);
        assert!(code == 2 && error.contains("fix.md.j2:2: "), "{code} {error}");
    }
}

#[tokio::test]
async fn prompt_names_the_folders_of_a_run_in_full() {
    let service = with_payload(Described::with_agent("exit 1").environment("PATCHWRIGHT_DATA_DIR", "here")).await;
    let (code, out, error) = seen(&service.run(&["prompt", "alert.json"]).await);
    let work = service.folder().canonicalize().unwrap().join("here/work/");
    assert!(code == 0 && out.contains(work.to_str().unwrap()), "{error}{out}");
}

#[tokio::test]
async fn a_mistake_in_what_is_asked_for_makes_nothing() {
    let service = Described::with_agent("exit 1").prepare().await;
    std::fs::write(service.folder().join("bad.json"), "{\"data\": 1}").unwrap();
    for reference in ["not an issue", "absent.json", "bad.json", "WEB-1F"] {
        for command in ["prompt", "run"] {
            let (code, _, error) = seen(&service.run(&[command, reference]).await);
            assert_eq!(code, 2, "{error}");
        }
    }
    assert!(!service.folder().join("data").exists());
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_told_once_with_the_way_out() {
    let service = with_payload(Described::with_agent("exit 1")).await;
    std::fs::create_dir_all(service.database()).unwrap();
    let (code, _, error) = seen(&service.run(&["run", "alert.json"]).await);
    assert!(code == 1 && error.contains("set `store.url` to another file"), "{code} {error}");
    assert_eq!(error.matches("unable to open database file").count(), 1, "{error}");
}

#[tokio::test]
async fn prompt_names_the_test_command_that_a_run_would_find() {
    let described = Described::with_agent("exit 1").without_test().file("Makefile", "test:\n\tsh tests/run.sh\n");
    let service = with_payload(described).await;
    let (code, out, error) = seen(&service.run(&["prompt", "alert.json"]).await);
    assert!(code == 0 && out.contains("The tests run with `make test`"), "{error}\n{out}");
}

#[tokio::test]
async fn prompt_finds_an_issue_by_address_and_by_short_id() {
    let service = Described::with_agent("exit 1").with_sentry().prepare().await;
    let sentry = service.sentry.as_ref().unwrap();
    sentry.issue("acme", "web", "42").short_id("WEB-1F").event(crate::outside::event("42"));
    let address = format!("{}/organizations/acme/issues/42/", sentry.url());
    for reference in [address.as_str(), "WEB-1F", "web-1f", "42"] {
        let (code, out, error) = seen(&service.run(&["prompt", reference]).await);
        assert!(code == 0 && out.contains("WEB-1F") && out.contains("DivisionByZero"), "{reference}: {error}\n{out}");
    }
    let (code, _, error) = seen(&service.run(&["prompt", "https://elsewhere.example/issues/42/"]).await);
    assert!(code != 0 && error.contains("elsewhere.example"), "{code} {error}");
    let (code, _, error) = seen(&service.run(&["prompt", "not an issue"]).await);
    assert!(code == 2 && error.contains("names no Sentry issue"), "{code} {error}");
    let (code, _, error) = seen(&service.run(&["prompt", "absent.json"]).await);
    assert!(code == 2 && error.contains("there is no such file"), "{code} {error}");
}

#[tokio::test]
async fn run_shows_the_job_as_it_happens_and_succeeds_with_a_pull_request() {
    let service = with_payload(Described::with_agent(FIXER)).await;
    let (code, out, error) = seen(&service.run(&["run", "alert.json"]).await);
    assert_eq!(code, 0, "{error}{out}");
    for line in ["job 1", "▸ triage", "▸ agent", "    │ the agent is done", "▸ publish", "■ opened draft pull request"]
    {
        assert!(out.lines().any(|shown| shown.starts_with(line)), "`{line}` is missing:\n{out}");
    }
    assert_eq!(service.pull_requests().len(), 1);
    service.nothing_left().await;
}

#[tokio::test]
async fn run_by_address_asks_sentry_and_opens_a_pull_request() {
    let service = Described::with_agent(FIXER).with_sentry().prepare().await;
    let sentry = service.sentry.as_ref().unwrap();
    sentry.issue("acme", "web", "42").short_id("WEB-1F").event(crate::outside::event("42"));
    let (code, out, error) =
        seen(&service.run(&["run", &format!("{}/organizations/acme/issues/42/", sentry.url())]).await);
    assert_eq!(code, 0, "{error}{out}");
    assert!(service.pull_request_body(1).contains("WEB-1F"));
}

#[tokio::test]
async fn run_without_a_pull_request_fails_and_a_mistake_is_told_apart() {
    let service = with_payload(Described::with_agent("echo nothing to do")).await;
    let (code, out, _) = seen(&service.run(&["run", "alert.json"]).await);
    assert!(code == 1 && out.contains("■ no pull request: the agent changed nothing"), "{code} {out}");
    let (code, _, error) = seen(&service.run(&["run", "alert.json", "--agent", "nobody"]).await);
    assert!(code == 2 && error.contains("there is no agent `nobody`"), "{code} {error}");
    let (code, _, error) = seen(&service.run(&["run", "WEB-1F"]).await);
    assert!(code == 2 && error.contains("set SENTRY_AUTH_TOKEN"), "{code} {error}");
    std::fs::write(service.folder().join("bad.json"), "{\"data\": 1}").unwrap();
    let (code, _, error) = seen(&service.run(&["run", "bad.json"]).await);
    assert!(code == 2 && error.contains("bad.json"), "{code} {error}");
}

#[tokio::test]
async fn jobs_are_listed_and_shown_for_people_and_for_programs() {
    let service = with_payload(Described::with_agent(FIXER)).await;
    assert_eq!(seen(&service.run(&["jobs", "list"]).await).0, 2, "there is no database yet");
    assert_eq!(seen(&service.run(&["run", "alert.json"]).await).0, 0);
    let (_, out, _) = seen(&service.run(&["jobs", "list"]).await);
    assert!(out.contains("opened") && out.contains("DivisionByZero"), "{out}");
    let (_, out, _) = seen(&service.run(&["jobs", "list", "--json"]).await);
    let job: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((job["id"].as_i64(), job["outcome"]["outcome"].as_str()), (Some(1), Some("opened")), "{job}");
    let (_, out, _) = seen(&service.run(&["jobs", "show", "1"]).await);
    assert!(out.contains("outcome  opened draft pull request") && out.contains("▸ agent"), "{out}");
    let (_, out, _) = seen(&service.run(&["jobs", "show", "1", "--json"]).await);
    let all: Value = serde_json::from_str(&out).unwrap();
    assert!(all["events"].as_array().is_some_and(|events| events.len() > 5) && all["job"]["id"] == 1, "{out}");
    let (code, _, error) = seen(&service.run(&["jobs", "show", "7"]).await);
    assert!(code == 2 && error.contains("patchwright jobs list"), "{code} {error}");
    assert_eq!(service.job(JobId(1)).await.state, State::Done);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let service = Described::with_agent(FIXER).prepare().await;
    for args in [&["init", "--schema"][..], &["init", "other.toml"][..]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = service.command(args).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output();
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
}

#[tokio::test]
async fn a_mistyped_key_is_answered_with_the_nearest_one_and_its_line() {
    let service = Described::with_agent(FIXER).config("[worker]\ncuont = 3").prepare().await;
    let (code, _, error) = seen(&service.run(&["jobs", "list"]).await);
    let line = std::fs::read_to_string(service.folder().join("patchwright.toml")).unwrap();
    let line = line.lines().position(|line| line.starts_with("cuont")).unwrap() + 1;
    assert_eq!(code, 2);
    assert!(
        error.contains(&format!("patchwright.toml:{line}:1: unknown key `worker.cuont`; did you mean `worker.count`?")),
        "{error}"
    );
}

#[tokio::test]
async fn flags_go_before_variables_and_variables_before_the_file() {
    let service = Described::with_agent(FIXER).environment("PATCHWRIGHT_DATA_DIR", "by-variable").prepare().await;
    let (_, _, error) = seen(&service.run(&["jobs", "list"]).await);
    assert!(error.contains("no database at by-variable/patchwright.db"), "{error}");
    let (_, _, error) = seen(&service.run(&["--set", "data_dir=by-flag", "jobs", "list"]).await);
    assert!(error.contains("no database at by-flag/patchwright.db"), "{error}");
    let (code, _, error) = seen(&service.run(&["--set", "worker.cuont=1", "jobs", "list"]).await);
    assert!(code == 2 && error.contains("worker.count"), "{code} {error}");
    let (code, _, error) = seen(&service.run(&["--set", "worker.count", "jobs", "list"]).await);
    assert!(code == 2 && error.contains("KEY=VALUE"), "{code} {error}");
}

#[tokio::test]
async fn serve_refuses_to_start_without_a_webhook_secret() {
    let service = Described::with_agent(FIXER).prepare().await;
    let mut command = service.command(&["serve"]);
    let output = command.env_remove("SENTRY_WEBHOOK_SECRET").stdin(Stdio::null()).output().await.unwrap();
    let (code, out, error) = seen(&output);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(error.contains("no webhook secret is configured") && error.contains("SENTRY_WEBHOOK_SECRET"), "{error}");
}

#[tokio::test]
async fn the_demo_ends_with_the_body_and_the_diff_of_a_draft_pull_request() {
    let service = Described::with_agent(FIXER).prepare().await;
    let (code, out, error) = seen(&service.run(&["demo", "--dir", "demo"]).await);
    assert_eq!(code, 0, "{error}{out}");
    for part in
        ["a SCRIPTED stand-in", "POST /webhooks/sentry", "■ opened draft pull request", "+    if not available:"]
    {
        assert!(out.contains(part), "`{part}` is missing:\n{out}");
    }
    let (body, diff) = (out.find("5. The draft pull request").unwrap(), out.find("6. Its diff").unwrap());
    assert!(body < diff && out.contains("Where everything is"), "{out}");
    let (code, _, error) = seen(&service.run(&["demo", "--dir", "demo"]).await);
    assert!(code == 2 && error.contains("demo is not empty"), "{code} {error}");
}

#[tokio::test]
async fn the_demo_takes_a_command_line_as_its_agent() {
    let service = Described::with_agent(FIXER).prepare().await;
    let agent = "sh -c 'echo I am a real agent, but lazy'";
    let (code, out, _) = seen(&service.run(&["demo", "--dir", "demo", "--agent", agent]).await);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("I am a real agent, but lazy") && out.contains("■ no pull request: the agent changed nothing"),
        "{out}"
    );
}

#[tokio::test]
async fn the_demo_without_python_says_what_to_install() {
    let service = Described::with_agent(FIXER).prepare().await;
    let bin = service.folder().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let git =
        std::env::split_paths(&std::env::var("PATH").unwrap()).map(|dir| dir.join("git")).find(|git| git.is_file());
    std::os::unix::fs::symlink(git.unwrap(), bin.join("git")).unwrap();
    let output = service.command(&["demo"]).env("PATH", &bin).stdin(Stdio::null()).output().await.unwrap();
    let (code, out, error) = seen(&output);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        error.contains("the demo needs `python3`, which is not on PATH; on Debian: apt install python3"),
        "{error}"
    );
}
