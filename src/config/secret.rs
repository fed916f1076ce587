//! References to secrets, and the secrets themselves once they are resolved.
//!
//! Invariant: a secret is never part of the configuration, is never printed, and says where it came from.

mod resolve;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use resolve::{read, resolve};

/// Where a secret is: `env:NAME` or `file:PATH`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^(env:[A-Za-z_][A-Za-z0-9_]*|file:[\\s\\S]+)$"))]
pub enum SecretRef {
    /// In this variable of Patchwright's environment.
    Env(String),
    /// In this file; one trailing line break is not part of it.
    File(PathBuf),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for SecretRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if is_variable_name(name) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            // The text may be a secret that was pasted here: it is not repeated.
            _ => Err("a secret is given by reference, `env:NAME` or `file:PATH`, never in the clear".to_owned()),
        }
    }
}

/// Letters, digits and `_`, not a digit first: what a shell can set.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl TryFrom<String> for SecretRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

/// A secret and where it came from. `Debug` shows only the latter.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Where it came from.
    pub from: SecretRef,
    /// The secret.
    pub value: SecretString,
}

/// All secrets of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Sentry API token.
    pub sentry_token: Option<Secret>,
    /// Webhook secrets, the active ones.
    pub webhook: Vec<Secret>,
    /// Forge token.
    pub forge_token: Option<Secret>,
}
