//! Puts the configuration together: flags over environment over file over defaults.
//!
//! Invariant: a configuration comes out only if every key was known and every value could be read; no secret is read here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use serde::Deserialize;
use toml::Table;

use super::environment::Environment;
use super::locate::locate;
use super::problem::{ConfigError, Place, Problem};
use super::secret::SecretRef;
use super::{Config, ForgeKind, check, document, overrides, shape};

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "patchwright.toml";

/// A configuration, and where it came from.
#[derive(Clone)]
pub struct Loaded {
    /// What is set.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    text: String,
    set_by: BTreeMap<String, String>,
}

/// Without the file's text: people keep more in comments than they should.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).field("file", &self.file).finish_non_exhaustive()
    }
}

impl Loaded {
    /// What is wrong with the relations between the settings, errors and warnings, each with its place.
    #[must_use]
    pub fn check(&self, builtin_agents: &[&str]) -> Vec<Problem> {
        self.placed(check::check(&self.config, builtin_agents))
    }

    /// Adds to problems where their keys are written: a place in the file, or the variable or flag that set them.
    #[must_use]
    pub fn placed(&self, problems: Vec<Problem>) -> Vec<Problem> {
        problems.into_iter().map(|problem| self.with_origin(problem)).collect()
    }

    /// The file of the database.
    ///
    /// # Errors
    /// Where `store.url` is refused, with its place.
    pub fn database_path(&self) -> Result<PathBuf, Problem> {
        self.config.database_path().map_err(|problem| self.with_origin(problem))
    }

    fn with_origin(&self, problem: Problem) -> Problem {
        let within = |key: &str| {
            problem.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if let Some((_, from)) = self.set_by.iter().find(|(key, _)| within(key)) {
            return Problem { what: format!("{} (set by {from})", problem.what), ..problem };
        }
        let place = self.file.as_ref().zip(locate(&self.text, &problem.key));
        problem.at(place.map(|(file, (line, column))| Place { file: file.clone(), line, column }))
    }
}

/// Loads the configuration. Without `path` it reads the file that `PATCHWRIGHT_CONFIG` names, else `patchwright.toml` in
/// the current folder if that is there. `flags` are dotted keys with their values.
///
/// # Errors
/// Where the file cannot be read, or with everything that is wrong in file, environment and flags.
pub fn load(path: Option<&Path>, env: &Environment, flags: &[(&str, String)]) -> Result<Loaded, ConfigError> {
    load_in(Path::new(""), path, env, flags)
}

/// As [`load`], with `here` in place of the current folder.
fn load_in(
    here: &Path,
    path: Option<&Path>,
    env: &Environment,
    flags: &[(&str, String)],
) -> Result<Loaded, ConfigError> {
    let named = path.or_else(|| env.get("PATCHWRIGHT_CONFIG").map(Path::new)).map(Path::to_owned);
    let file = named.or_else(|| Some(here.join(DEFAULT_FILE)).filter(|file| is_there(file)));
    let text = file.as_deref().map(read).transpose()?.unwrap_or_default();
    let name = file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));

    let (overrides, mut problems) = overrides::all(env, flags);
    let read = document::read::<Config>(&text, name, shape::config(), |_| None);
    if let Err(mut found) = read {
        found.append(&mut problems);
        return Err(ConfigError::Invalid { problems: found });
    }
    if !problems.is_empty() {
        return Err(ConfigError::Invalid { problems });
    }

    let set_by = overrides.iter().map(|one| (one.key.clone(), one.from.clone())).collect();
    let config = merge(&text, overrides).map_err(|error| ConfigError::Invalid {
        problems: vec![Problem::error("", error.message(), "see docs/configuration.md")],
    })?;
    let mut loaded = Loaded { config, file, text, set_by };
    loaded.anchor_paths();
    loaded.take_conventional_secrets(env);
    Ok(loaded)
}

/// A link that leads nowhere is there, too: somebody meant something by it.
fn is_there(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok()
}

fn read(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })
}

/// File, then everything from outside it. File and overrides were each checked before.
fn merge(text: &str, overrides: Vec<overrides::Override>) -> Result<Config, toml::de::Error> {
    let mut table: Table = toml::from_str(text)?;
    for one in overrides {
        one.apply(&mut table);
    }
    Config::deserialize(table)
}

impl Loaded {
    /// Paths in the file are relative to the file's folder, so that it can be moved with what it names. (`data_dir` and
    /// `store.url` are where this process keeps things: relative to the current folder. So is what was set outside the file.)
    fn anchor_paths(&mut self) {
        let Some(folder) = self.file.as_deref().and_then(Path::parent) else { return };
        let set_by = &self.set_by;
        let in_file = |key: &str| !set_by.contains_key(key);
        let Config { sentry, forge, prompt, .. } = &mut self.config;

        let secrets = [("sentry.token", &mut sentry.token), ("forge.token", &mut forge.token)];
        for (_, reference) in secrets.into_iter().filter(|(key, _)| in_file(key)) {
            reference.iter_mut().for_each(|reference| anchor_secret(folder, reference));
        }
        if in_file("sentry.webhook_secrets") {
            sentry.webhook_secrets.iter_mut().for_each(|reference| anchor_secret(folder, reference));
        }
        let folders = [("forge.path", &mut forge.path), ("prompt.dir", &mut prompt.dir)];
        for (_, path) in folders.into_iter().filter(|(key, _)| in_file(key)) {
            path.iter_mut().for_each(|path| *path = folder.join(&*path));
        }
    }

    /// The variables that Sentry's and GitHub's own tools read serve where nothing else was configured.
    fn take_conventional_secrets(&mut self, env: &Environment) {
        let from = |name: &str| env.get(name).map(|_| SecretRef::Env(name.to_owned()));
        let Config { sentry, forge, .. } = &mut self.config;
        sentry.token = sentry.token.take().or_else(|| from("SENTRY_AUTH_TOKEN"));
        if sentry.webhook_secrets.is_empty() {
            sentry.webhook_secrets.extend(from("SENTRY_WEBHOOK_SECRET"));
        }
        if forge.kind == ForgeKind::Github {
            forge.token = forge.token.take().or_else(|| from("GITHUB_TOKEN"));
        }
    }
}

fn anchor_secret(folder: &Path, reference: &mut SecretRef) {
    if let SecretRef::File(path) = reference {
        *path = folder.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is said of a configuration with this text, as an error or as a problem.
    fn said(text: &str, env: &[(&str, &str)]) -> String {
        let here = tempfile::tempdir().expect("a folder");
        fs::write(here.path().join(DEFAULT_FILE), text).expect("written");
        let env: Environment = env.iter().copied().collect();
        match load_in(here.path(), None, &env, &[]) {
            Err(error) => format!("{error} {error:?}"),
            Ok(loaded) => {
                let problems = [loaded.check(&[]), super::super::secret::read(&loaded.config, &env).1].concat();
                problems.iter().map(Problem::to_string).collect()
            }
        }
    }

    #[test]
    fn whatever_key_a_secret_was_pasted_for_it_is_not_repeated() {
        const PASTED: &str = "ghp_pasted0secret0that0must0not0be0repeated";
        let values = [PASTED, &format!("file:{PASTED}"), &format!("env:{PASTED}"), &format!("https://a:{PASTED}@b")];
        let leaves = shape::config().leaves();
        for (key, _) in &leaves {
            let variable = overrides::variable(key);
            for value in values {
                for text in
                    [format!("{key} = \"{value}\""), format!("{key} = [\"{value}\"]"), format!("{key} = {value}")]
                {
                    assert!(!said(&text, &[]).contains(PASTED), "{}", said(&text, &[]));
                }
                let said = said("", &[(variable.as_str(), value)]);
                assert!(!said.contains(PASTED), "{said}");
            }
        }
        let project = shape::config().key("project").and_then(shape::Shape::items).expect("projects are a list");
        // The name of an agent is said: what there is instead could not be understood without it.
        for (key, _) in project.keys().filter(|(key, _)| *key != "agent") {
            for text in [format!("{key} = \"{PASTED}\""), format!("{key} = [\"{PASTED}\"]")] {
                let rest = ["sentry = \"a\"", "repository = \"a/b\""].into_iter().filter(|line| !line.starts_with(key));
                let text = format!("[[project]]\n{}\n{text}", rest.collect::<Vec<_>>().join("\n"));
                assert!(!said(&text, &[]).contains(PASTED), "{}", said(&text, &[]));
            }
        }
    }

    #[test]
    fn the_default_file_is_read_where_it_is_there_and_not_missed_where_it_is_not() {
        let here = tempfile::tempdir().expect("a folder");
        let env = Environment::default();
        let without = load_in(here.path(), None, &env, &[]).expect("defaults");
        assert_eq!((without.config, without.file), (Config::default(), None));

        fs::write(here.path().join(DEFAULT_FILE), "worker.count = 7").expect("written");
        let with = load_in(here.path(), None, &env, &[]).expect("read");
        assert_eq!((with.config.worker.count, with.file), (7, Some(here.path().join(DEFAULT_FILE))));

        fs::remove_file(here.path().join(DEFAULT_FILE)).expect("removed");
        std::os::unix::fs::symlink("nowhere", here.path().join(DEFAULT_FILE)).expect("linked");
        assert!(load_in(here.path(), None, &env, &[]).is_err(), "a link that leads nowhere is not passed over");
    }
}
