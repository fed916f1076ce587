//! The real program as a service, with a repository, a forge and a configuration around it.
//!
//! Invariant: the program is spoken to as its users do: over HTTP, by its commands, by signals; its database is only read,
//! but that time can be made to pass in it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use patchwright::cli::setup::install_crypto;
use patchwright::cli::{Start, setup};
use patchwright::job::{EventKind, Job, JobEvent, JobId, Stage, State};
use patchwright::pipeline::Seams;
use patchwright::source::sentry::signature;
use patchwright::store::Store;
use patchwright::store::sqlite::SqliteStore;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::fake::github::FakeGitHub;
use crate::fake::sentry::{self, FakeSentry};
use crate::git::fixture::Repo;

/// The secret with which alerts are signed.
pub(crate) const SECRET: &str = "a-webhook-secret-of-the-tests";
/// The only tests of the sample repository.
const TESTS: &str =
    "set -eu\n[ \"$(sh app.sh 4 2)\" = 2 ]\nfor t in tests/case_*.sh; do [ -e \"$t\" ] || continue; sh \"$t\"; done\n";
/// What the sample repository does; dividing by zero is its bug.
pub(crate) const APP: &str = "# Divides its first argument by its second.\necho $(($1 / $2))\n";
/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// An agent that fixes the sample repository, adds a test and hands back a result.
pub(crate) const FIXER: &str = r#"
cat > app.sh <<'END'
# Divides its first argument by its second.
if [ "$2" -eq 0 ]; then echo undefined; exit 0; fi
echo $(($1 / $2))
END
cat > tests/case_zero.sh <<'END'
[ "$(sh app.sh 1 0)" = undefined ]
END
cat > "$PATCHWRIGHT_RESULT_FILE" <<'END'
{"verdict": "fix", "root_cause": "the divisor may be zero", "summary": "answer `undefined` then"}
END
echo "the agent is done"
"#;

/// A service that is being described.
#[derive(Debug)]
pub(crate) struct Described {
    /// The agent's command, as TOML.
    command: String,
    agent_keys: String,
    /// The project's `test` key, as TOML.
    test: String,
    files: Vec<(String, String)>,
    config: String,
    project: String,
    environment: Vec<(String, String)>,
    with_sentry: bool,
    on_github: bool,
}

/// A program with everything around it; ends with this value.
pub(crate) struct Service {
    folder: TempDir,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    pub(crate) repo: Repo,
    pub(crate) github: Option<FakeGitHub>,
    pub(crate) sentry: Option<FakeSentry>,
}

/// One `patchwright serve`; killed with this value.
pub(crate) struct Running {
    child: Child,
    address: String,
}

/// What the service answered to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Running {
    /// Where it listens, `ADDRESS:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        let id = self.child.id().expect("the service runs");
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal to it and all that comes from it, the last ones first, as a service manager does to all processes of
    /// a service in whatever order.
    pub(crate) fn signal_all(&self, signal: Signal) {
        let mut tree = vec![self.pid()];
        let parents: Vec<(Pid, Pid)> = std::fs::read_dir("/proc").unwrap().flatten().filter_map(parent_of).collect();
        let mut looked_at = 0;
        while let Some(parent) = tree.get(looked_at).copied() {
            tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
            looked_at += 1;
        }
        for pid in tree.into_iter().rev() {
            // Some have ended of their own, or because another one did.
            let _ = kill_process(pid, signal);
        }
    }
}

/// A process and its parent, from its entry in `/proc`.
fn parent_of(entry: std::fs::DirEntry) -> Option<(Pid, Pid)> {
    let child = entry.file_name().to_str()?.parse().ok()?;
    let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
    // The name before may hold anything.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Some((Pid::from_raw(child)?, Pid::from_raw(parent)?))
}

impl Answer {
    /// The job that the answer names.
    pub(crate) fn job(&self) -> JobId {
        JobId(self.body["job"].as_i64().unwrap_or_else(|| panic!("no job in {self:?}")))
    }
}

impl Described {
    /// A service whose agent is this shell script; on the directory forge, without Sentry's API.
    pub(crate) fn with_agent(script: &str) -> Self {
        Self {
            command: format!("[\"sh\", \"-c\", {}]", toml_string(script)),
            agent_keys: String::new(),
            test: "test = \"sh tests/run.sh\"".to_owned(),
            files: Vec::new(),
            config: String::new(),
            project: String::new(),
            environment: Vec::new(),
            with_sentry: false,
            on_github: false,
        }
    }

    /// Pull requests are opened at a GitHub look-alike.
    pub(crate) fn on_github(mut self) -> Self {
        self.on_github = true;
        self
    }

    /// Evidence comes from a Sentry look-alike's API, too.
    pub(crate) fn with_sentry(mut self) -> Self {
        self.with_sentry = true;
        self
    }

    /// Another command as the project's tests.
    pub(crate) fn tests(mut self, command: &str) -> Self {
        self.test = format!("test = {}", toml_string(command));
        self
    }

    /// Another command as the agent, as a TOML array.
    pub(crate) fn command(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.command);
        self
    }

    /// More keys of the agent.
    pub(crate) fn agent_keys(mut self, toml: &str) -> Self {
        self.agent_keys.push_str(toml);
        self.agent_keys.push('\n');
        self
    }

    /// The operator names no test command.
    pub(crate) fn without_test(mut self) -> Self {
        self.test.clear();
        self
    }

    /// One more file at the head of the sample repository.
    pub(crate) fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// More tables of the configuration.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// More keys of the project.
    pub(crate) fn project(mut self, toml: &str) -> Self {
        self.project.push_str(toml);
        self.project.push('\n');
        self
    }

    /// One more variable of the service's environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes everything but does not start the service.
    pub(crate) async fn prepare(self) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let forge = folder.path().join("forge/acme");
        std::fs::create_dir_all(&forge).unwrap();
        let repo = Repo::at(&forge.join("web.git"));
        repo.commit("Divide", &[("app.sh", "echo $(($1 / $2))\n"), ("tests/run.sh", TESTS)]);
        repo.commit("Say what it does", &[("app.sh", APP)]);

        if !self.files.is_empty() {
            let files: Vec<(&str, &str)> =
                self.files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
            repo.commit("More files", &files);
        }

        // The later value of a name wins, so that a test may choose its own.
        let mut environment = vec![("PATH".to_owned(), std::env::var("PATH").unwrap_or_default())];
        environment.push(("SENTRY_WEBHOOK_SECRET".into(), SECRET.into()));
        let github = if self.on_github { Some(FakeGitHub::start().await) } else { None };
        let forge_table = match &github {
            Some(github) => {
                github.add_repository("acme/web", repo.path());
                environment.push(("GITHUB_TOKEN".into(), github.token().into()));
                format!("kind = \"github\"\napi_url = \"{}\"\n", github.api_url())
            }
            None => "kind = \"directory\"\npath = \"forge\"\n".to_owned(),
        };
        let sentry = if self.with_sentry { Some(FakeSentry::start().await) } else { None };
        let sentry_url = sentry.as_ref().map(|sentry| {
            environment.push(("SENTRY_AUTH_TOKEN".into(), sentry::TOKEN.into()));
            format!("url = \"{}\"\n", sentry.url())
        });
        let data = toml_string(&folder.path().join("data").display().to_string());
        let text = format!(
            "data_dir = {data}\n[server]\nlisten = \"127.0.0.1:0\"\n[sentry]\norg = \"acme\"\n{}[forge]\n{forge_table}\
             [agents.test]\ncommand = {}\n{}\n{}\n[[project]]\nsentry = \"web\"\n\
             repository = \"acme/web\"\n{}\nagent = \"test\"\n{}",
            sentry_url.unwrap_or_default(),
            self.command,
            self.agent_keys,
            self.config,
            self.test,
            self.project
        );
        environment.extend(self.environment);
        std::fs::write(folder.path().join("patchwright.toml"), text).unwrap();
        Service { folder, environment, running: None, repo, github, sentry }
    }

    /// Makes everything and starts the service.
    pub(crate) async fn start(self) -> Service {
        let mut service = self.prepare().await;
        service.start().await;
        service
    }
}

/// A TOML string with this text.
pub(crate) fn toml_string(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

impl Service {
    /// What this service would be built from inside of the program, on a store of its own.
    pub(crate) async fn seams(&self) -> Arc<Seams> {
        let environment = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let start = Start { config: Some(self.folder().join("patchwright.toml")), set: Vec::new(), environment };
        let (config, secrets) = setup::checked(&start).unwrap();
        setup::seams(&start, config, secrets).await.unwrap()
    }

    /// The folder with configuration, data and forge.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder().join("data/patchwright.db")
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("service.log")
    }

    /// What the service has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Sends an alert for an issue, waits for the end of its job, and checks that the run has left nothing.
    pub(crate) async fn work(&self, issue: &str) -> Job {
        let answer = self.post("event_alert", &alert(issue, "rule")).await;
        let job = self.done(answer.job()).await;
        self.nothing_left().await;
        job
    }

    /// Checks that no process and no workspace of a run is left.
    pub(crate) async fn nothing_left(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        let work = self.folder().join("data/work");
        let gone = eventually(async || std::fs::read_dir(&work).ok()?.next().is_none().then_some(()));
        assert!(!work.exists() || gone.await.is_some(), "a workspace is left in {}", work.display());
    }

    /// The processes that work below the service's folder or name it, other than the service itself.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder().as_os_str().as_encoded_bytes();
        let known = [self.running.as_ref().and_then(|running| running.child.id()), Some(std::process::id())];
        let names_us = |text: &[u8]| text.windows(folder.len()).any(|part| part == folder);
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if known.contains(&Some(pid)) {
                continue;
            }
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let argv = read("cmdline");
            if names_us(&read("environ")) || names_us(&argv) || names_us(folder.as_os_str().as_encoded_bytes()) {
                found.push(format!("{pid}: {}", String::from_utf8_lossy(&argv).replace('\0', " ")));
            }
        }
        found
    }

    /// One of the program's commands, as a user starts it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchwright"));
        command
            .args(args)
            .current_dir(self.folder())
            .env_clear()
            .envs(self.environment.iter().cloned())
            .kill_on_drop(true);
        command
    }

    /// Starts the service and waits until it listens.
    pub(crate) async fn start(&mut self) {
        self.start_with(&[]).await;
    }

    /// As [`Service::start`], with further arguments.
    pub(crate) async fn start_with(&mut self, args: &[&str]) {
        self.running = Some(self.spawn_with(args).await);
    }

    /// Starts one more service on the same configuration and database, and waits until it listens.
    pub(crate) async fn spawn(&self) -> Running {
        self.spawn_with(&[]).await
    }

    /// As [`Service::spawn`], with further arguments.
    pub(crate) async fn spawn_with(&self, args: &[&str]) -> Running {
        let args = [&["serve"], args].concat();
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut child = self.command(&args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("it says where it listens").unwrap();
        let first = first.unwrap_or_else(|| panic!("it does not start:\n{}", self.log()));
        let rest = first.split("http://").nth(1).unwrap_or_else(|| panic!("unexpected line: {first}"));
        let address = rest.split(';').next().unwrap().to_owned();
        Running { child, address }
    }

    /// The service that was started first.
    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("the service runs")
    }

    /// Ends the service the hard way.
    pub(crate) async fn kill(&mut self) {
        self.running.take().expect("the service runs").child.kill().await.unwrap();
    }

    /// Asks the service to end and waits for it; answers whether it succeeded.
    pub(crate) async fn terminate(&mut self) -> bool {
        self.running().signal(Signal::TERM);
        self.ended().await.success()
    }

    /// Waits until the service has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the service runs");
        tokio::time::timeout(DEADLINE, running.child.wait()).await.expect("it ends").unwrap()
    }

    /// Runs one of the program's commands to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).stdin(Stdio::null()).output();
        tokio::time::timeout(DEADLINE, output).await.expect("the command ends").unwrap()
    }

    /// Posts a body as Sentry does, signed.
    pub(crate) async fn post(&self, resource: &str, body: &Value) -> Answer {
        self.try_post(resource, body).await.expect("the service answers")
    }

    /// As [`Service::post`], to a service that may refuse the connection.
    pub(crate) async fn try_post(&self, resource: &str, body: &Value) -> reqwest::Result<Answer> {
        install_crypto();
        let bytes = body.to_string().into_bytes();
        let signature = signature::sign(SECRET, &bytes);
        let request = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(format!("http://{}/webhooks/sentry", self.running().address))
            .header("Content-Type", "application/json")
            .header("Sentry-Hook-Resource", resource)
            .header("Sentry-Hook-Signature", signature)
            .body(bytes);
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: response.json().await? })
    }

    /// The GitHub look-alike.
    pub(crate) fn github(&self) -> &FakeGitHub {
        self.github.as_ref().expect("the service works on GitHub")
    }

    /// Waits until GitHub has received a request of this method whose path ends like this.
    pub(crate) async fn asked_github(&self, method: &str, path_end: &str) {
        let asked = eventually(async || (self.github().count(method, path_end) > 0).then_some(())).await;
        assert!(asked.is_some(), "no {method} …{path_end} came: {:?}", self.github().requests());
    }

    /// Waits until no folder of a run is left.
    pub(crate) async fn no_workspace_is_left(&self) {
        let work = self.folder().join("data/work");
        let left = || std::fs::read_dir(&work).into_iter().flatten().flatten().map(|entry| entry.path());
        let gone = eventually(async || left().next().is_none().then_some(())).await;
        assert!(gone.is_some(), "workspaces are left: {:?}", left().collect::<Vec<_>>());
    }

    /// The state of a job as the database has it.
    pub(crate) async fn job(&self, job: JobId) -> Job {
        self.store().await.job(job).await.unwrap()
    }

    /// A connection to the service's database as another program would have it.
    pub(crate) async fn raw(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.database()).connect().await.unwrap()
    }

    /// Lets so much time pass for leases and waits that all have run out.
    pub(crate) async fn time_passes(&self) {
        let passed = "UPDATE jobs SET lease_until = min(lease_until, 0), run_after = 0";
        sqlx::query(passed).execute(&mut self.raw().await).await.unwrap();
    }

    /// Waits until a query of the service's database answers 1.
    pub(crate) async fn becomes_true(&self, query: &str) {
        let mut raw = self.raw().await;
        let is_true = eventually(async || {
            let answer: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&mut raw).await.unwrap();
            (answer == 1).then_some(())
        });
        assert!(is_true.await.is_some(), "still not so: {query}\n{}", self.log());
    }

    /// Waits until the service has logged this.
    pub(crate) async fn logged(&self, text: &str) {
        let logged = eventually(async || self.log().contains(text).then_some(())).await;
        assert!(logged.is_some(), "`{text}` is not in the log:\n{}", self.log());
    }

    /// The service's database.
    pub(crate) async fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.database()).await.unwrap()
    }

    /// A job's whole history.
    pub(crate) async fn events(&self, job: JobId) -> Vec<JobEvent> {
        self.store().await.events(job, 0, 100_000).await.unwrap()
    }

    /// A job's output and notes as one text.
    pub(crate) async fn history(&self, job: JobId) -> String {
        self.events(job).await.iter().map(|event| format!("{} {}\n", event.stage, event.text)).collect()
    }

    /// Waits until a job is done.
    pub(crate) async fn done(&self, job: JobId) -> Job {
        let store = self.store().await;
        let result = eventually(async || {
            let job = store.job(job).await.unwrap();
            (job.state == State::Done).then_some(job)
        });
        match result.await {
            Some(job) => job,
            None => panic!("job {job} did not end:\n{}", self.history(job).await),
        }
    }

    /// Waits until a job has entered a stage.
    pub(crate) async fn entered(&self, job: JobId, stage: Stage) {
        let store = self.store().await;
        let entered = eventually(async || {
            let events = store.events(job, 0, 100_000).await.unwrap();
            events.iter().any(|event| event.kind == EventKind::Stage && event.stage == stage).then_some(())
        });
        assert!(entered.await.is_some(), "job {job} did not reach {stage}:\n{}", self.history(job).await);
    }

    /// The body of one of the directory forge's pull requests.
    pub(crate) fn pull_request_body(&self, number: u64) -> String {
        std::fs::read_to_string(self.folder().join(format!("forge/acme/web.pulls/{number}.md"))).unwrap()
    }

    /// The directory forge's pull requests, read from its files.
    pub(crate) fn pull_requests(&self) -> Vec<Value> {
        let folder = self.folder().join("forge/acme/web.pulls");
        let mut found: Vec<(PathBuf, Value)> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| (path.clone(), serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.into_iter().map(|(_, json)| json).collect()
    }
}

/// Asks again and again until there is an answer or the deadline has passed.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while tokio::time::Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        tick.tick().await;
    }
    None
}

/// An alert rule's webhook for an issue of the sample repository. `mark` makes the delivery differ from others.
pub(crate) fn alert(issue: &str, mark: &str) -> Value {
    json!({
        "action": "triggered",
        "installation": { "uuid": "00000000-0000-4000-8000-000000000001" },
        "actor": { "type": "application", "id": "sentry", "name": "Sentry" },
        "data": {
            "triggered_rule": mark,
            "event": {
                "event_id": format!("{:032x}", issue.bytes().fold(7_u128, |sum, byte| sum * 31 + u128::from(byte))),
                "issue_id": issue,
                "url": format!("https://sentry.example/api/0/projects/acme/web/events/{issue}/"),
                "web_url": format!("https://sentry.example/organizations/acme/issues/{issue}/events/1/"),
                "issue_url": format!("https://sentry.example/api/0/organizations/acme/issues/{issue}/"),
                "title": "DivisionByZero: division by 0",
                "level": "error",
                "platform": "other",
                "environment": "production",
                "release": "web@1.0.0",
                "tags": [["environment", "production"], ["release", "web@1.0.0"]],
                "contexts": { "trace": { "trace_id": "11112222333344445555666677778888" } },
                "exception": { "values": [{
                    "type": "DivisionByZero",
                    "value": "division by 0",
                    "stacktrace": { "frames": [{
                        "filename": "app.sh", "abs_path": "/srv/web/app.sh", "function": "main", "lineno": 2,
                        "in_app": true, "context_line": "echo $(($1 / $2))", "vars": { "2": "0" }
                    }] }
                }] }
            }
        }
    })
}
