//! What an operator can set, as plain data.
//!
//! Invariant: a `Config` holds references to secrets (`env:NAME`, `file:PATH`), never a secret; every key is refused
//! unless it is known, and every one has a default or is required with a clear error.

pub mod check;
mod document;
pub mod environment;
pub mod load;
pub mod locate;
pub mod nearest;
mod overrides;
pub mod problem;
pub mod repository_file;
pub mod schema;
pub mod secret;
mod shape;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{Limits, Size, Span};
pub use problem::{ConfigError, Place, Problem, Severity};
use secret::SecretRef;

/// A `patchwright.toml` with every key, each commented out at its default.
pub const EXAMPLE: &str = include_str!("../patchwright.example.toml");

/// Everything in `patchwright.toml`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "patchwright.toml")]
pub struct Config {
    /// Folder for everything that Patchwright keeps: database, mirrors, workspaces. Created when missing. Default: `data`.
    pub data_dir: DataDir,
    /// The HTTP server that receives alerts.
    pub server: Server,
    /// Where deliveries and jobs are kept.
    pub store: StoreConfig,
    /// The workers that run jobs.
    pub worker: WorkerConfig,
    /// Sentry: webhook secrets and API access.
    pub sentry: SentryConfig,
    /// Where pull requests are opened.
    pub forge: ForgeConfig,
    /// How commits and branches look.
    pub git: GitConfig,
    /// The prompt that the agent gets.
    pub prompt: PromptConfig,
    /// How the draft pull request looks.
    pub publish: PublishConfig,
    /// Limits of agent and test commands.
    pub limits: LimitsConfig,
    /// Agents by name. A project picks one by `agent`; built-in profiles may be used without being listed here.
    pub agents: BTreeMap<String, AgentConfig>,
    /// One entry for each Sentry project that Patchwright works on.
    #[serde(rename = "project")]
    pub projects: Vec<ProjectConfig>,
}

impl Config {
    /// The entry for a Sentry project: one that names the organisation goes before one that does not.
    #[must_use]
    pub fn project_for(&self, org: &str, project: &str) -> Option<&ProjectConfig> {
        let in_org = |entry: &&ProjectConfig| entry.sentry.split_once('/') == Some((org, project));
        self.projects.iter().find(in_org).or_else(|| self.projects.iter().find(|entry| entry.sentry == project))
    }

    /// The organisation of the entries `org/project` for this project, where they name one only.
    #[must_use]
    pub fn only_org_with(&self, project: &str) -> Option<&str> {
        let named = self.projects.iter().filter_map(|entry| entry.sentry.split_once('/'));
        let mut orgs = named.filter(|(_, slug)| *slug == project).map(|(org, _)| org);
        match (orgs.next(), orgs.next()) {
            (Some(org), None) => Some(org),
            _ => None,
        }
    }

    /// The file of the database: the path in `store.url` (`sqlite:PATH` or `sqlite://PATH`), else `patchwright.db` in `data_dir`.
    ///
    /// # Errors
    /// Where `store.url` is refused. Its text may hold a password, so that nobody gets a path of it.
    pub fn database_path(&self) -> Result<PathBuf, Problem> {
        self.store
            .url
            .as_deref()
            .map_or_else(|| Ok(self.data_dir.path().join("patchwright.db")), check::addresses::store)
    }
}

/// A folder; a type of its own so that it is never the empty path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "PathBuf")]
#[schemars(with = "String", extend("pattern" = "[^ ]"))]
pub struct DataDir(pub PathBuf);

impl TryFrom<String> for DataDir {
    type Error = &'static str;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        if path.trim().is_empty() { Err("the path of the folder is empty: write one") } else { Ok(Self(path.into())) }
    }
}

impl From<DataDir> for PathBuf {
    fn from(dir: DataDir) -> Self {
        dir.0
    }
}

impl Default for DataDir {
    fn default() -> Self {
        Self(PathBuf::from("data"))
    }
}

impl DataDir {
    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the bare mirrors are.
    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.0.join("mirrors")
    }

    /// Where the workspaces of runs are.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }
}

/// An IP address, that of version 6 in brackets, and a port.
const SOCKET_ADDRESS: &str = concat!(
    r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|\[[0-9A-Fa-f:.]+\])",
    r":(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4})$",
);

/// `[server]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port to listen on. Port 0 picks a free one. Default: `127.0.0.1:8080`.
    #[schemars(extend("pattern" = SOCKET_ADDRESS))]
    pub listen: SocketAddr,
    /// Largest body of a webhook. Default: `1MiB`.
    pub max_body: Size,
    /// Time in which the head of a request must have arrived. Default: `5s`.
    pub header_timeout: Span,
    /// Time in which the body of a request must have arrived. Default: `10s`.
    pub body_timeout: Span,
    /// Most connections at once; more wait to be accepted. Default: 512.
    #[schemars(range(max = u32::MAX))]
    pub max_connections: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_body: Size(1 << 20),
            header_timeout: Span(std::time::Duration::from_secs(5)),
            body_timeout: Span(std::time::Duration::from_secs(10)),
            max_connections: 512,
        }
    }
}

/// `[store]`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Address of the database, `sqlite:PATH`. Default: `patchwright.db` in `data_dir`. Environment: `DATABASE_URL`.
    pub url: Option<String>,
}

/// `[worker]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// Jobs that run at the same time. Default: 2.
    #[schemars(range(max = u32::MAX))]
    pub count: usize,
    /// Jobs that run at the same time for one repository. Default: 1.
    #[schemars(range(max = u32::MAX))]
    pub per_repository: usize,
    /// How long a worker that has died keeps its job before another takes it up. Default: `30s`.
    pub lease: Span,
    /// How often a job is tried when something outside (network, crash) stopped it. Default: 5.
    #[schemars(range(max = u32::MAX))]
    pub max_runs: u32,
    /// Time for running jobs to end after SIGTERM; then they are handed back. Default: `20s`.
    pub shutdown_grace: Span,
    /// Keep the workspaces of ended jobs for inspection. Default: false.
    pub keep_workspaces: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            count: 2,
            per_repository: 1,
            lease: Span(std::time::Duration::from_secs(30)),
            max_runs: 5,
            shutdown_grace: Span(std::time::Duration::from_secs(20)),
            keep_workspaces: false,
        }
    }
}

/// `[sentry]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SentryConfig {
    /// Base address. Default: `https://sentry.io`. Environment: `SENTRY_URL`.
    pub url: String,
    /// Organisation slug, for short ids and for deliveries that do not name it. Without it such a delivery counts for the
    /// only `[[project]]` that names an organisation with its project, else it starts nothing. Environment: `SENTRY_ORG`.
    pub org: Option<String>,
    /// API token with `event:read`, `project:read`, `org:read`. Without it, the webhook's own content is all the evidence
    /// there is. Default: `env:SENTRY_AUTH_TOKEN` where that variable is set.
    pub token: Option<SecretRef>,
    /// Client secrets of the internal integration. Several may be active, for rotation. Default: `env:SENTRY_WEBHOOK_SECRET`
    /// where that variable is set.
    pub webhook_secrets: Vec<SecretRef>,
    /// Start jobs for `error.created` too: one for every new error event's issue. Default: false.
    pub start_on_error: bool,
    /// A regression that arrives less than this after another one of the same issue belongs to the same job, since Sentry
    /// announces one regression on several channels. Default: `10m`.
    pub regression_window: Span,
}

impl Default for SentryConfig {
    fn default() -> Self {
        Self {
            url: "https://sentry.io".to_owned(),
            org: None,
            token: None,
            webhook_secrets: Vec::new(),
            start_on_error: false,
            regression_window: Span(std::time::Duration::from_secs(600)),
        }
    }
}

/// Which forge holds the repositories.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForgeKind {
    /// github.com or GitHub Enterprise.
    #[default]
    Github,
    /// Bare repositories in a folder; a pull request is a ref, a JSON file and a Markdown body.
    Directory,
}

/// `[forge]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForgeConfig {
    /// `github` or `directory`. Default: `github`.
    pub kind: ForgeKind,
    /// Base address of the REST API; for GitHub Enterprise `https://HOST/api/v3`. Default: `https://api.github.com`.
    pub api_url: String,
    /// Token with *Contents: write* and *Pull requests: write*. Default: `env:GITHUB_TOKEN` where that variable is set.
    pub token: Option<SecretRef>,
    /// `directory` only: the folder that holds `owner/name.git`.
    pub path: Option<PathBuf>,
}

impl Default for ForgeConfig {
    fn default() -> Self {
        Self { kind: ForgeKind::Github, api_url: "https://api.github.com".to_owned(), token: None, path: None }
    }
}

/// `[git]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitConfig {
    /// Author and committer of our commits. Default: `Patchwright`.
    pub author_name: String,
    /// Their address. Default: `patchwright@localhost`.
    pub author_email: String,
    /// Add `Signed-off-by`. Default: false.
    pub sign_off: bool,
    /// Further trailers, each `Key: value`.
    pub trailers: Vec<String>,
    /// First part of the names of our branches. Default: `patchwright`.
    pub branch_prefix: String,
    /// Largest changed file that is published. Default: `5MiB`.
    pub max_file: Size,
    /// Most changed files that are published. Default: 100.
    #[schemars(range(max = u32::MAX))]
    pub max_files: usize,
    /// Longest time of one transfer. Default: `10m`.
    pub transfer_timeout: Span,
}

impl Default for GitConfig {
    fn default() -> Self {
        Self {
            author_name: "Patchwright".to_owned(),
            author_email: "patchwright@localhost".to_owned(),
            sign_off: false,
            trailers: Vec::new(),
            branch_prefix: "patchwright".to_owned(),
            max_file: Size(5 << 20),
            max_files: 100,
            transfer_timeout: Span(std::time::Duration::from_secs(600)),
        }
    }
}

/// `[prompt]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptConfig {
    /// A folder whose templates replace the built-in ones of the same name.
    pub dir: Option<PathBuf>,
    /// Most bytes of the prompt; what does not fit is in the context folder, and the prompt says so. Default: `96KiB`.
    pub budget: Size,
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self { dir: None, budget: Size(96 << 10) }
    }
}

/// What to do where a repository does not support draft pull requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutDrafts {
    /// End the job with an error that says so.
    #[default]
    Fail,
    /// Open a normal pull request.
    OpenReady,
}

/// `[publish]`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// Labels of the pull request, best effort.
    pub labels: Vec<String>,
    /// Reviewers of the pull request, best effort.
    pub reviewers: Vec<String>,
    /// What to do where drafts are not available (private repositories on some plans). Default: `fail`.
    pub without_drafts: WithoutDrafts,
}

/// `[limits]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Limits of one agent run.
    pub agent: Limits,
    /// Limits of one setup or test run.
    #[serde(deserialize_with = "TestLimits::deserialize")]
    #[schemars(with = "TestLimits")]
    pub tests: Limits,
}

/// [`Limits`] whose missing parts are those that suit tests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default = "Limits::for_tests", remote = "Limits")]
#[schemars(rename = "TestLimits")]
struct TestLimits {
    /// Longest time from start to end.
    wall: Span,
    /// Longest time without a byte of output.
    silence: Span,
    /// Most bytes of output (standard output and error together).
    output: Size,
    /// Most bytes that the command's folder may hold.
    disk: Size,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { agent: Limits::for_agent(), tests: Limits::for_tests() }
    }
}

/// How the agent gets its prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptBy {
    /// On standard input.
    #[default]
    Stdin,
    /// As the file `{prompt_file}`; standard input is empty.
    File,
}

/// `[agents.NAME]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Program and arguments. Placeholders: `{prompt_file}`, `{workspace}`, `{context_dir}`, `{result_file}`. Without it, the
    /// entry adds to the built-in profile of its name.
    #[serde(default)]
    pub command: Vec<String>,
    /// Further arguments, behind those of the command.
    #[serde(default)]
    pub args: Vec<String>,
    /// How it gets the prompt. Default: `stdin`.
    #[serde(default)]
    pub prompt: PromptBy,
    /// Names of variables of Patchwright's own environment that the agent gets too, such as its model key.
    #[serde(default)]
    pub pass_env: Vec<String>,
    /// Further variables with their values. No secrets here: use `pass_env`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// A command: a line for `sh -c`, or a program with its arguments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CommandLine {
    /// A line for `sh -c`.
    Shell(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

impl CommandLine {
    /// Program and arguments to start.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Argv(argv) => argv.clone(),
        }
    }

    /// The command as a person would type it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Shell(line) => line.clone(),
            Self::Argv(argv) => argv.join(" "),
        }
    }
}

/// Which commit is worked on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The head of the default branch.
    #[default]
    DefaultBranch,
    /// The commit of the failing release where it is known and an ancestor of the default branch; else as above.
    Release,
}

/// `[[project]]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// The Sentry project: `slug`, or `org/slug` where several organisations send alerts.
    pub sentry: String,
    /// The repository, `owner/name`.
    pub repository: String,
    /// Sub-folder of a monorepo in which setup and tests run.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Other repositories that the agent gets too, `owner/name` each. If it mends one, that gets a pull request of its own.
    #[serde(default)]
    pub related: Vec<String>,
    /// Command that prepares a checkout for the tests.
    #[serde(default)]
    pub setup: Option<CommandLine>,
    /// Command that runs the tests. Default: detected.
    #[serde(default)]
    pub test: Option<CommandLine>,
    /// Name of the agent: one of `[agents]` or a built-in profile.
    #[serde(default)]
    pub agent: Option<String>,
    /// Environments whose alerts are worked on; empty means all.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Levels whose alerts are worked on. Default: `error` and `fatal`.
    #[serde(default = "default_levels")]
    pub levels: Vec<String>,
    /// Which commit is worked on. Default: `default_branch`.
    #[serde(default)]
    pub base: Base,
    /// Names of variables of Patchwright's own environment that setup and test commands get too.
    #[serde(default)]
    pub pass_env: Vec<String>,
    /// Fetch Git LFS files. Default: false.
    #[serde(default)]
    pub lfs: bool,
    /// Fetch submodules. Default: false.
    #[serde(default)]
    pub submodules: bool,
}

fn default_levels() -> Vec<String> {
    vec!["error".to_owned(), "fatal".to_owned()]
}
