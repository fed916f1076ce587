//! From the configuration to everything that a command works with.
//!
//! Invariant: nothing is started on a configuration that has errors; each error says where and what to do.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use super::{CliError, Start};
use crate::agent::profile;
use crate::config::load::{self, Loaded};
use crate::config::secret::{self, Secrets};
use crate::config::{Config, DataDir, ForgeKind, Problem};
use crate::forge::Forge;
use crate::forge::directory::Directory;
use crate::forge::github::GitHub;
use crate::pipeline::Seams;
use crate::process;
use crate::prompt::Prompts;
use crate::redact::Redactor;
use crate::source::sentry::api::Sentry;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::workspace;

/// Reads the configuration; relations between settings are not checked yet.
///
/// # Errors
/// A usage error that names file, line and remedy.
pub fn config(start: &Start) -> Result<Loaded, CliError> {
    let flags: Vec<(&str, String)> = start.set.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    load::load(start.config.as_deref(), &start.environment, &flags).map_err(|error| CliError::Usage(error.to_string()))
}

/// Reads and checks the configuration and resolves its secrets. Warnings are logged.
///
/// # Errors
/// A usage error that lists every problem.
pub fn checked(start: &Start) -> Result<(Config, Secrets), CliError> {
    let loaded = config(start)?;
    let (secrets, problems) = secrets_and_problems(&loaded, start);
    let (errors, warnings): (Vec<Problem>, _) = problems.into_iter().partition(Problem::is_error);
    // Only `serve` needs a webhook secret, and it says so itself.
    for warning in warnings.into_iter().filter(|warning| warning.key != "sentry.webhook_secrets") {
        // The log says that it is a warning.
        tracing::warn!("{}", warning.to_string().replacen("warning: ", "", 1));
    }
    if errors.is_empty() {
        let mut config = loaded.config;
        // Prompts and commands name folders in it, and those start elsewhere.
        config.data_dir = DataDir(std::path::absolute(config.data_dir.path())?);
        return Ok((config, secrets));
    }
    let mut text = "the configuration has errors:".to_owned();
    for error in errors {
        text.push_str(&format!("\n  {error}"));
    }
    Err(CliError::Usage(text))
}

/// The resolved secrets, and everything that is wrong with the configuration, each with its place.
#[must_use]
pub fn secrets_and_problems(loaded: &Loaded, start: &Start) -> (Secrets, Vec<Problem>) {
    let names = profile::names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut problems = loaded.check(&names);
    let (secrets, unresolved) = secret::read(&loaded.config, &start.environment);
    problems.extend(loaded.placed(unresolved));
    (secrets, problems)
}

/// Opens everything that jobs need.
///
/// # Errors
/// Where the database, the forge client or the templates cannot be had.
pub async fn seams(start: &Start, config: Config, secrets: Secrets) -> Result<Arc<Seams>, CliError> {
    let store = open_store(&config.database_path().map_err(refused)?).await?;
    own_folder(&config, &store).await?;
    seams_on(Arc::new(store), start, config, secrets)
}

/// As [`seams`], on a store that is open.
///
/// # Errors
/// Where the forge client or the templates cannot be had.
pub fn seams_on(
    store: Arc<dyn Store>,
    start: &Start,
    config: Config,
    secrets: Secrets,
) -> Result<Arc<Seams>, CliError> {
    install_crypto();
    let redactor = Arc::new(redactor(&config, &secrets, start));
    let forge = forge(&config, &secrets)?;
    let token = secrets.sentry_token.as_ref().map(|secret| secret.value.clone());
    let sentry = Sentry::new(&config.sentry.url, token).context("the Sentry client cannot be made")?;
    let sentry = sentry.with_redactor(Arc::clone(&redactor));
    // Filled in once with made-up data: a mistake must not show only when an agent is to be paid.
    let prompts = Prompts::load(config.prompt.dir.as_deref())
        .and_then(|prompts| prompts.check().map(|()| prompts))
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let executable = process::this_executable();
    let environment = start.environment.clone();
    Ok(Arc::new(Seams { config, environment, secrets, redactor, store, forge, sentry, prompts, executable }))
}

/// The forge that is configured.
///
/// # Errors
/// Where its client cannot be made.
pub fn forge(config: &Config, secrets: &Secrets) -> Result<Arc<dyn Forge>, CliError> {
    let token = secrets.forge_token.as_ref().map(|secret| secret.value.clone());
    let failed = |error: crate::forge::ForgeError| CliError::Usage(error.to_string());
    Ok(match config.forge.kind {
        ForgeKind::Github => Arc::new(GitHub::new(&config.forge.api_url, token).map_err(failed)?),
        ForgeKind::Directory => {
            let path = config.forge.path.as_deref().unwrap_or_else(|| Path::new("forge"));
            Arc::new(Directory::new(path).map_err(failed)?)
        }
    })
}

/// Opens the database, creating it where it is missing.
///
/// # Errors
/// Where that does not work; the text names the file.
pub async fn open_store(path: &Path) -> Result<SqliteStore, CliError> {
    let refused = |error| {
        let path = path.display();
        anyhow::anyhow!(
            "the database {path} cannot be opened: {error}; let the user that Patchwright runs as write it, or set \
             `store.url` to another file"
        )
    };
    Ok(SqliteStore::open(path).await.map_err(refused)?)
}

/// Checks that the data folder is that of this database and no other one.
///
/// # Errors
/// Where it belongs to another, or cannot be written; the text says what to do.
pub async fn own_folder(config: &Config, store: &dyn Store) -> Result<(), CliError> {
    let folder = config.data_dir.path();
    let identity = store.identity().await.map_err(anyhow::Error::from)?;
    if workspace::belongs_to(folder, &identity)
        .with_context(|| format!("the data folder {} cannot be used", folder.display()))?
    {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "the data folder {} belongs to another database than {}: of two services that share a folder but not the database, \
         each would remove the other's workspaces. Give each a `data_dir` of its own; if the other database is gone for good \
         and no service uses it, remove {} and start again",
        folder.display(),
        config.database_path().map_err(refused)?.display(),
        folder.join(workspace::DATABASE_ID).display()
    )))
}

fn refused(problem: Problem) -> CliError {
    CliError::Usage(problem.to_string())
}

/// Opens a database that must be there.
///
/// # Errors
/// Where there is none, or it cannot be opened.
pub async fn existing_store(loaded: &Loaded) -> Result<Arc<dyn Store>, CliError> {
    let path = loaded.database_path().map_err(refused)?;
    if !path.exists() {
        return Err(CliError::Usage(format!(
            "there is no database at {}; start this where the service is started, or set `data_dir` to an absolute path",
            path.display()
        )));
    }
    Ok(Arc::new(open_store(&path).await?))
}

/// One TLS implementation for the whole program; where it is installed already, that is fine.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Knows the configured secrets and those that agents and tests are given.
fn redactor(config: &Config, secrets: &Secrets, start: &Start) -> Redactor {
    let configured = secrets.webhook.iter().chain(&secrets.sentry_token).chain(&secrets.forge_token);
    let mut known: Vec<&str> = configured.map(|secret| secret.value.expose_secret()).collect();
    let built_in = profile::built_in().unwrap_or_default();
    let agents = || config.agents.values().chain(built_in.values());
    // Not where a secret belongs, but one may be there under a name that the checks do not know.
    known.extend(
        agents().flat_map(|agent| &agent.env).filter(|(name, _)| holds_a_secret(name)).map(|(_, value)| value.as_str()),
    );
    let agents = agents().flat_map(|agent| &agent.pass_env);
    let projects = config.projects.iter().flat_map(|project| &project.pass_env);
    known.extend(
        agents.chain(projects).filter(|name| holds_a_secret(name)).filter_map(|name| start.environment.get(name)),
    );
    Redactor::new(&known)
}

/// Addresses and model names are passed on by name too, and are no secrets.
fn holds_a_secret(name: &str) -> bool {
    ["KEY", "TOKEN", "SECRET", "PASS", "PWD", "CREDENTIAL", "AUTH", "DSN", "COOKIE", "PRIVATE", "DATABASE_URL"]
        .iter()
        .any(|word| name.to_ascii_uppercase().contains(word))
}
