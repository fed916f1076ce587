//! Loading, checking and documenting the configuration, with real files.
//!
//! Invariant: what an operator reads (messages, example, reference, schema) is held to what the program does.

#![expect(clippy::expect_used, reason = "a helper that cannot prepare its files ends the test")]

mod checking;
mod loading;
mod messages;
mod published;
mod repository_file;
mod secrets;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use patchwright::config::check::{PLACEHOLDERS, check};
use patchwright::config::environment::Environment;
use patchwright::config::load::{Loaded, load};
use patchwright::config::schema::json_schema;
use patchwright::config::secret::{SecretRef, read, resolve};
use patchwright::config::{Config, ConfigError, EXAMPLE, Problem, ProjectConfig, Severity};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;

/// Looks like a token; no message may ever contain it.
const PASTED: &str = "ghp_pasted0secret0that0must0not0be0repeated";

mod lookups {
    use super::*;

    #[test]
    fn an_entry_with_the_organisation_goes_before_one_without() {
        let entry = |sentry: &str, repository: &str| {
            format!("[[project]]\nsentry = \"{sentry}\"\nrepository = \"{repository}\"\n")
        };
        let text = entry("web", "any/web") + &entry("acme/web", "acme/web") + &entry("acme/api", "acme/api");
        let config = File::new(&text).load().expect("sound").config;
        let found = |org: &str, project: &str| config.project_for(org, project).map(|entry| entry.repository.as_str());
        assert_eq!(found("acme", "web"), Some("acme/web"));
        assert_eq!(found("other", "web"), Some("any/web"));
        assert_eq!(found("acme", "api"), Some("acme/api"));
        assert_eq!(found("other", "api"), None);
    }

    #[test]
    fn the_database_is_in_the_data_folder_unless_an_address_is_set() {
        let path = |text: &str| File::new(text).load().expect("sound").config.database_path().expect("sound");
        assert_eq!(path("data_dir = \"/d\""), Path::new("/d/patchwright.db"));
        assert_eq!(path("store.url = \"sqlite:a/b.db\""), Path::new("a/b.db"));
        assert_eq!(path("store.url = \"sqlite:///a/b.db\""), Path::new("/a/b.db"));
    }
}

/// A configuration file in a folder of its own.
struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("patchwright.toml");
        fs::write(&path, text).expect("written");
        Self { path, _folder: folder }
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_with(&[], &[])
    }

    fn load_with(&self, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let flags: Vec<_> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        load(Some(&self.path), &env.iter().copied().collect(), &flags)
    }
}

/// Loads with these variables and an empty file.
fn try_env(env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    File::new("").load_with(env, &[])
}

fn load_env(env: &[(&str, &str)]) -> Config {
    try_env(env).expect("sound").config
}
