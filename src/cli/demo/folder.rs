//! The folder in which a demo keeps everything.
//!
//! Invariant: it is the owner's alone, and it is removed with this value until somebody has a reason to look into it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::agent::Chosen;
use crate::cli::CliError;

const ALERT: &str = include_str!("../../../demo/alert.json");
const SCRIPTED_AGENT: &str = include_str!("../../../demo/scripted_agent.py");

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: String,
    kept: bool,
}

impl Folder {
    /// Makes the folder, with the alert and the scripted agent in it; a new one where none is asked for.
    pub(super) fn make(asked: Option<&Path>) -> Result<Self, CliError> {
        let path = match asked {
            Some(path) => {
                let taken = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
                if taken {
                    let text = format!("{} is not empty; name a new folder with --dir", path.display());
                    return Err(CliError::Usage(text));
                }
                let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
                made.with_context(|| format!("cannot make {}", path.display()))?;
                path.to_path_buf()
            }
            None => {
                let mut builder = tempfile::Builder::new();
                builder.prefix("patchwright-demo-").permissions(fs::Permissions::from_mode(0o700));
                builder.tempdir().context("no temporary folder can be made")?.keep()
            }
        };
        let path = path.canonicalize().context("the folder was just made")?;
        // The configuration names paths in it, and TOML is UTF-8.
        let path = path.into_os_string().into_string().map_err(|path| {
            CliError::Usage(format!("the name of {} is not UTF-8; name another folder with --dir", path.display()))
        })?;
        let folder = Self { path, kept: false };
        fs::write(folder.alert(), ALERT).context("cannot write the alert")?;
        fs::write(folder.script(), SCRIPTED_AGENT).context("cannot write the scripted agent")?;
        Ok(folder)
    }

    /// Leaves the folder there from now on.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Whether the folder stays.
    pub(super) const fn is_kept(&self) -> bool {
        self.kept
    }

    /// Its whole path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The forge: the repository, and its pull requests.
    pub(super) fn forge(&self) -> String {
        self.file("forge")
    }

    /// Database and mirrors.
    pub(super) fn data(&self) -> String {
        self.file("data")
    }

    /// The configuration.
    pub(super) fn config(&self) -> String {
        self.file("patchwright.toml")
    }

    /// The webhook secret.
    pub(super) fn secret(&self) -> String {
        self.file("webhook-secret")
    }

    /// The alert, as Sentry would send it.
    pub(super) fn alert(&self) -> String {
        self.file("alert.json")
    }

    /// The scripted agent.
    pub(super) fn script(&self) -> String {
        self.file("scripted_agent.py")
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Writes a configuration such as a user would write, with a fresh webhook secret.
    pub(super) fn configure(&self, agent: &Chosen) -> Result<PathBuf, CliError> {
        let secret = fs::read("/proc/sys/kernel/random/uuid").context("no randomness for the webhook secret")?;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.secret())
            .context("cannot keep the webhook secret")?;
        file.write_all(secret.trim_ascii())?;

        let agents = match &agent.entry {
            Some(entry) => toml::to_string(&toml::Table::from_iter([(
                "agents".to_owned(),
                toml::Value::try_from(std::collections::BTreeMap::from([(&agent.name, entry)]))
                    .map_err(anyhow::Error::from)?,
            )]))
            .map_err(anyhow::Error::from)?,
            None => String::new(),
        };
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        // Nothing is asked of this Sentry: there is no token. Links of the pull request lead to it.
        let text = format!(
            "# Written by `patchwright demo`.\ndata_dir = {data}\n\n[server]\nlisten = \"127.0.0.1:0\"\n\n[worker]\n\
             shutdown_grace = \"1s\"\n\n[sentry]\nurl = \"https://sentry.example\"\nwebhook_secrets = [{secret}]\n\n\
             [forge]\nkind = \"directory\"\npath = {forge}\n\n{agents}\n[[project]]\nsentry = \"acme/shop\"\n\
             repository = \"acme/shop\"\nagent = {agent}\n",
            data = quoted(&self.data()),
            secret = quoted(&format!("file:{}", self.secret())),
            forge = quoted(&self.forge()),
            agent = quoted(&agent.name),
        );
        fs::write(self.config(), text).context("cannot write the configuration")?;
        Ok(self.config().into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // It was empty before, so all of it is ours; whoever cannot remove it could not fill it either.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
