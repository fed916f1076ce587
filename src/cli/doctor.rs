//! `patchwright doctor`: checks everything that can be wrong, and says how to mend it.
//!
//! Invariant: changes nothing outside its own data folder, prints no secret, and never stops at the first problem.

mod outside;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::screen::{Screen, Tone, visible_block};
use super::{CliError, Start, setup};
use crate::agent::{bare_environment, profile};
use crate::config::environment::Environment;
use crate::config::load::Loaded;
use crate::config::secret::Secrets;
use crate::config::{Config, Problem, ProjectConfig};
use crate::git::{self, Git};
use crate::limits::{Limits, Size};
use crate::process::{self, Ended, Program, Terms};
use crate::prompt::Prompts;
use crate::store::Store;

/// Longest wait for one answer to `git`; a transfer may take longer, but nothing is transferred here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `patchwright doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave out what needs the network: forge and Sentry.
    #[arg(long)]
    offline: bool,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// Fine; the text says what was found.
    Good(String),
    /// It works, but somebody should look.
    Look(String),
    /// It does not work; the text says what to do.
    Bad(String),
}

/// Collects and shows findings.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    screen: &'a mut Screen,
    bad: usize,
    look: usize,
}

impl Report<'_> {
    pub(crate) fn say(&mut self, about: &str, finding: Finding) -> Result<(), CliError> {
        let (tone, mark, text) = match &finding {
            Finding::Good(text) => (Tone::Good, "ok  ", text),
            Finding::Look(text) => (Tone::Warn, "look", text),
            Finding::Bad(text) => (Tone::Bad, "BAD ", text),
        };
        self.bad += usize::from(matches!(finding, Finding::Bad(_)));
        self.look += usize::from(matches!(finding, Finding::Look(_)));
        let text = visible_block(text).replace('\n', "\n                           ");
        Ok(self.screen.line(tone, &format!("{mark}  {about:<19}  {text}"))?)
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Negative`] where something is bad.
pub async fn run(start: &Start, args: Args, screen: &mut Screen) -> Result<(), CliError> {
    let mut report = Report { screen, bad: 0, look: 0 };
    match setup::config(start) {
        Ok(loaded) => with_configuration(start, &args, &loaded, &mut report).await?,
        Err(error) => {
            report.say("configuration", Finding::Bad(error.to_string()))?;
            without_configuration(start, &mut report).await?;
        }
    }
    let (bad, look) = (report.bad, report.look);
    let tone = if bad > 0 { Tone::Bad } else { Tone::Good };
    report.screen.line(tone, &format!("\n{bad} to mend, {look} to look at"))?;
    if bad > 0 { Err(CliError::Negative) } else { Ok(()) }
}

/// What can be said where not even the folder is known in which things are kept.
async fn without_configuration(start: &Start, report: &mut Report<'_>) -> Result<(), CliError> {
    report.say("user", user())?;
    let home = tempfile::tempdir()?;
    let git = git_program(&start.environment, home.path());
    report.say("git", git_version(&git, &Config::default(), &start.environment).await)?;
    report.say("everything else", Finding::Look("not checked: it needs a configuration that can be read".to_owned()))
}

async fn with_configuration(
    start: &Start,
    args: &Args,
    loaded: &Loaded,
    report: &mut Report<'_>,
) -> Result<(), CliError> {
    let file = loaded.file.as_ref().map_or_else(
        || "no file; environment and defaults (`patchwright init` writes one)".to_owned(),
        |file| file.display().to_string(),
    );
    report.say("configuration", Finding::Good(file))?;
    let (secrets, problems) = setup::secrets_and_problems(loaded, start);
    for problem in &problems {
        let text = problem.to_string();
        report.say("configuration", if problem.is_error() { Finding::Bad(text) } else { Finding::Look(text) })?;
    }
    let refused = Refused(&problems);
    let config = &refused.without_projects(&loaded.config);
    report.say("webhook secrets", webhook_secrets(&secrets))?;
    report.say("organisation", organisation(config, &refused))?;
    report.say("user", user())?;
    report.say("data folder", data_folder(config))?;
    report.say("disk", disk(config))?;
    report.say("database", database(config).await)?;
    report.say("templates", templates(config))?;
    let git = git_program(&start.environment, config.data_dir.path());
    report.say("git", git_version(&git, config, &start.environment).await)?;
    if config.projects.iter().any(|project| project.lfs) {
        report.say("git-lfs", git_lfs(&git).await)?;
    }
    report.say("supervisor", supervisor(config, &start.environment).await)?;
    for project in &config.projects {
        report.say(&format!("agent of {}", project.sentry), agent(config, project, &start.environment))?;
    }
    if args.offline {
        report.say("forge and Sentry", Finding::Look("not asked (--offline)".to_owned()))?;
    } else {
        setup::install_crypto();
        outside::check(config, &secrets, &refused, &git, report).await?;
    }
    Ok(())
}

/// The problems of the configuration. What is wrong there was said: it is not shown, not used and not said again.
struct Refused<'a>(&'a [Problem]);

impl Refused<'_> {
    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|problem| problem.is_error() && problem.key == key)
    }

    /// What is said of something that hangs on a refused key.
    fn instead(&self, key: &str) -> Option<Finding> {
        self.has(key).then(|| Finding::Look(format!("not checked: `{key}` is refused, see above")))
    }

    /// The configuration without the projects whose names are refused.
    fn without_projects(&self, config: &Config) -> Config {
        let named = |index: usize| {
            let mut of_project = self.0.iter().filter(|problem| problem.is_error());
            let key = |name: &str| format!("project[{index}].{name}");
            !of_project.any(|problem| {
                [key("sentry"), key("repository")].contains(&problem.key) || problem.key.starts_with(&key("related"))
            })
        };
        let projects = config.projects.iter().enumerate().filter(|(index, _)| named(*index));
        Config { projects: projects.map(|(_, project)| project.clone()).collect(), ..config.clone() }
    }
}

fn webhook_secrets(secrets: &Secrets) -> Finding {
    match secrets.webhook.as_slice() {
        [] => Finding::Bad(
            "none; `serve` needs one: copy the client secret of your Sentry integration into SENTRY_WEBHOOK_SECRET"
                .to_owned(),
        ),
        active => {
            let names: Vec<String> = active.iter().map(|secret| secret.from.to_string()).collect();
            Finding::Good(format!("{} active: {}", names.len(), names.join(", ")))
        }
    }
}

fn organisation(config: &Config, refused: &Refused<'_>) -> Finding {
    if let Some(finding) = refused.instead("sentry.org") {
        return finding;
    }
    match config.sentry.org.as_deref() {
        Some(org) => Finding::Good(format!("`{org}`, where an alert or a short id does not name its own")),
        None => Finding::Look(
            "not known: webhooks of older self-hosted Sentry servers do not name theirs and are refused, and short ids \
             cannot be looked up; set SENTRY_ORG or `sentry.org` to its slug"
                .to_owned(),
        ),
    }
}

fn user() -> Finding {
    let root = rustix::process::getuid().is_root();
    match (root, std::process::id()) {
        (_, 1) => Finding::Look(
            "running as process 1, which must reap every orphan: start it through an init such as tini (docker run --init)".to_owned(),
        ),
        (true, _) => Finding::Look(
            "running as root: agents and tests run as root too and could read everything here; use a user of its own".to_owned(),
        ),
        (false, _) => Finding::Good(format!("user id {}", rustix::process::getuid().as_raw())),
    }
}

fn data_folder(config: &Config) -> Finding {
    let path = config.data_dir.path();
    let probe = || -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(path)?;
        let probe = tempfile::NamedTempFile::new_in(path)?;
        probe.close()?;
        path.canonicalize()
    };
    match probe() {
        Ok(full) => Finding::Good(full.display().to_string()),
        Err(error) => {
            Finding::Bad(format!("{} cannot be written: {error}; change its owner, or set `data_dir`", path.display()))
        }
    }
}

fn disk(config: &Config) -> Finding {
    match rustix::fs::statvfs(config.data_dir.path()) {
        Ok(stat) => room(stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => Finding::Look(format!("free space cannot be read: {error}")),
    }
}

fn room(free: u64) -> Finding {
    let text = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
    if free < 200 << 20 {
        return Finding::Bad(format!("{text}; hardly a checkout fits: make room, or move `data_dir`"));
    }
    if free < 2 << 30 {
        return Finding::Look(format!("{text}; checkouts and their dependencies may need more"));
    }
    Finding::Good(text)
}

async fn database(config: &Config) -> Finding {
    let Ok(path) = config.database_path() else {
        return Finding::Look("not opened: `store.url` is refused, see above".to_owned());
    };
    match setup::open_store(&path).await {
        Ok(store) => match (store.check().await, setup::own_folder(config, &store).await) {
            (Ok(()), Ok(())) => Finding::Good(format!("{} can be written", path.display())),
            (Err(error), _) => Finding::Bad(format!("{}: {error}", path.display())),
            (_, Err(error)) => Finding::Bad(error.to_string()),
        },
        Err(error) => Finding::Bad(format!("{error:#}")),
    }
}

fn templates(config: &Config) -> Finding {
    match Prompts::load(config.prompt.dir.as_deref()).and_then(|prompts| prompts.check().map(|()| prompts)) {
        Ok(_) => Finding::Good(
            config
                .prompt
                .dir
                .as_ref()
                .map_or_else(|| "built in".to_owned(), |dir| format!("built in, with those in {}", dir.display())),
        ),
        Err(error) => Finding::Bad(error.to_string()),
    }
}

fn git_program(environment: &Environment, home: &Path) -> Git {
    Git::new(environment.path(), home.to_path_buf(), process::this_executable(), PATIENCE, CancellationToken::new())
        .with_network_variables(environment.iter())
}

async fn git_version(git: &Git, config: &Config, environment: &Environment) -> Finding {
    if let Err(error) = git::readable_configuration() {
        return Finding::Bad(error.to_string());
    }
    let submodules = config.projects.iter().any(|project| project.submodules);
    match git.version().await {
        Ok(version) if !version.is_supported() => {
            Finding::Bad(format!("git {version} is too old; 2.40 or newer is needed"))
        }
        Ok(version) if submodules && !version.has_submodule_path_fix() => Finding::Bad(format!(
            "git {version} has the submodule flaw CVE-2025-48384, through which a repository can run a program here; update \
             it, or set `submodules = false`"
        )),
        Ok(version) if !version.has_submodule_path_fix() => Finding::Look(format!(
            "git {version} has the submodule flaw CVE-2025-48384; update it before you set `submodules = true`"
        )),
        Ok(version) if config.worker.count > 1 && git_can_be_read(environment) => Finding::Look(format!(
            "git {version}; `worker.count` is {}, so that the agent of one job can read the forge's token while another \
             job's git runs; set it to 1, or use the container image",
            config.worker.count
        )),
        Ok(version) => Finding::Good(format!("git {version}")),
        Err(error) => Finding::Bad(format!("{error}; on Debian: apt install git")),
    }
}

async fn git_lfs(git: &Git) -> Finding {
    match git.has_lfs().await {
        Ok(true) => Finding::Good("installed".to_owned()),
        Ok(false) => Finding::Bad(
            "`lfs = true` is set for a project, and git-lfs is not on PATH; install it, or set `lfs = false`"
                .to_owned(),
        ),
        Err(error) => Finding::Look(format!("not checked: {error}")),
    }
}

/// Whether the kernel shows git's environment to other processes of our user: it does not where they may not read the
/// program's file, as in the image.
fn git_can_be_read(environment: &Environment) -> bool {
    process::find_program("git", std::path::Path::new("/"), environment.path())
        .is_none_or(|file| std::fs::File::open(file).is_ok())
}

/// Runs `true` the way agents and tests are run.
async fn supervisor(config: &Config, environment: &Environment) -> Finding {
    let attempt = async {
        let folder = tempfile::tempdir_in(config.data_dir.path())?;
        let program = Program {
            argv: vec!["true".to_owned()],
            dir: folder.path().to_path_buf(),
            env: bare_environment(environment, folder.path(), folder.path()),
            stdin: Vec::new(),
        };
        let limits = Limits { disk: Size(1 << 30), ..Limits::for_tests() };
        let terms = Terms {
            limits,
            folder: folder.path().to_path_buf(),
            supervisor: process::this_executable(),
            cancel: CancellationToken::new(),
            stopping: CancellationToken::new(),
            lines: None,
        };
        anyhow::Ok(process::run_untrusted(&program, &terms).await?.ended)
    };
    match attempt.await {
        Ok(Ended::Exit(0)) => {
            Finding::Good("commands run under supervision, and their whole process tree is ended".to_owned())
        }
        Ok(ended) => Finding::Bad(format!("`true` {ended}; is /proc mounted?")),
        Err(error) => Finding::Bad(format!("a command could not be run: {error:#}; is /proc mounted?")),
    }
}

fn agent(config: &Config, project: &ProjectConfig, environment: &Environment) -> Finding {
    let (name, agent) = match profile::for_project(config, project) {
        Ok(found) => found,
        Err(what) => return Finding::Bad(what),
    };
    let Some(program) = agent.command.first() else {
        return Finding::Bad(format!("agents.{name}.command is empty"));
    };
    // Only a job has a checkout to look in.
    if program.contains('/') && Path::new(program).is_relative() {
        return Finding::Look(format!(
            "`{program}` (agent `{name}`) is looked for in each checkout; write a full path or a bare name if it is not there"
        ));
    }
    let Some(path) = process::find_program(program, Path::new("/"), environment.path()) else {
        return Finding::Bad(format!(
            "`{program}` (agent `{name}`) is not on PATH; install it, or name its full path in [agents.{name}]"
        ));
    };
    let passed: Vec<&str> =
        agent.pass_env.iter().map(String::as_str).filter(|name| environment.get(name).is_some()).collect();
    if passed.is_empty() && !agent.pass_env.is_empty() {
        return Finding::Look(format!(
            "`{name}` is {}; none of {} is set, so it may not reach its model",
            path.display(),
            agent.pass_env.join(", ")
        ));
    }
    Finding::Good(format!("`{name}` is {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_in_a_checkout_is_not_looked_for_in_the_folder_of_the_doctor() {
        // Tests run in the folder of the package, which has such a file.
        let agents = "[agents.mine]\ncommand = [\"./test\"]\n";
        let project = "[[project]]\nsentry = \"a\"\nrepository = \"a/b\"\n";
        let config: Config = toml::from_str(&format!("{agents}{project}")).unwrap();
        let finding = agent(&config, &config.projects[0], &Environment::default());
        assert!(matches!(&finding, Finding::Look(text) if text.contains("in each checkout")), "{finding:?}");
    }

    #[test]
    fn an_unknown_organisation_is_something_to_look_at() {
        let mut config = Config::default();
        let none = Refused(&[]);
        assert!(matches!(organisation(&config, &none), Finding::Look(text) if text.contains("SENTRY_ORG")));
        config.sentry.org = Some("acme".to_owned());
        assert!(matches!(organisation(&config, &none), Finding::Good(_)));
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_something_to_mend() {
        assert!(matches!(room(100 << 20), Finding::Bad(text) if text.contains("make room")));
        assert!(matches!(room(1 << 30), Finding::Look(_)));
        assert!(matches!(room(50 << 30), Finding::Good(_)));
    }
}
