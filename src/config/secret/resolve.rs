//! Fetches the secrets that a configuration refers to.
//!
//! Invariant: a problem names the key and where the secret should be, never any part of its value.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{Secret, SecretRef, Secrets};
use crate::config::environment::Environment;
use crate::config::{Config, Problem};
use crate::redact::Redactor;

/// A shorter webhook secret can be guessed from one signed delivery. Sentry's own have 64 characters.
const SHORTEST_WEBHOOK_SECRET: usize = 16;

/// More than any token or key; what is longer is some other file.
const LONGEST_SECRET: u64 = 64 << 10;

/// All secrets of a configuration. Warnings are passed over: [`read`] has them too.
///
/// # Errors
/// Every problem of a secret that is missing, empty, unreadable or malformed, so that all can be mended at once.
pub fn resolve(config: &Config, env: &Environment) -> Result<Secrets, Vec<Problem>> {
    let (secrets, problems) = read(config, env);
    if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok(secrets) }
}

/// The secrets that could be had, and everything that is wrong, warnings included.
#[must_use]
pub fn read(config: &Config, env: &Environment) -> (Secrets, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut secrets = Secrets::default();
    let mut fetch = |key: &str, reference: &SecretRef| fetch(key, reference, env, &mut problems);
    secrets.sentry_token = config.sentry.token.as_ref().and_then(|reference| fetch("sentry.token", reference));
    secrets.forge_token = config.forge.token.as_ref().and_then(|reference| fetch("forge.token", reference));
    let webhook = config.sentry.webhook_secrets.iter().enumerate().map(|(index, reference)| {
        let key = format!("sentry.webhook_secrets[{index}]");
        (fetch(&key, reference), key)
    });
    let webhook: Vec<_> = webhook.filter_map(|(secret, key)| Some((secret?, key))).collect();
    for (secret, key) in webhook {
        if secret.value.expose_secret().len() < SHORTEST_WEBHOOK_SECRET {
            let what = format!("`{key}` ({}) is shorter than {SHORTEST_WEBHOOK_SECRET} bytes", secret.from);
            problems.push(Problem::warning(key, what, "anyone could guess it: use the client secret that Sentry made"));
        }
        let known = |other: &Secret| other.value.expose_secret() == secret.value.expose_secret();
        if !secrets.webhook.iter().any(known) {
            secrets.webhook.push(secret);
        }
    }
    (secrets, problems)
}

fn fetch(key: &str, reference: &SecretRef, env: &Environment, problems: &mut Vec<Problem>) -> Option<Secret> {
    let value = match reference {
        SecretRef::Env(name) => env.get(name).map(|value| SecretString::from(value.to_owned())).ok_or_else(|| {
            let what = format!("`{key}`: the variable {} is not set or empty", shown(name));
            Problem::error(key, what, "set it where Patchwright is started, or use `file:PATH`")
        }),
        SecretRef::File(path) => from_file(key, path, problems),
    };
    match value.and_then(|value| sound(key, reference, value)) {
        Ok(value) => Some(Secret { from: reference.clone(), value }),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

/// The name of a variable, unless it looks rather like a secret that was pasted after `env:`.
fn shown(name: &str) -> &str {
    if name.contains(|c: char| c.is_ascii_lowercase()) { "that it refers to" } else { name }
}

fn from_file(key: &str, path: &Path, problems: &mut Vec<Problem>) -> Result<SecretString, Problem> {
    // A token that was pasted after `file:` is no path, but it is read as one.
    let shown = Redactor::new(&[]).text(&path.display().to_string()).into_inner();
    let unreadable = |error: &io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => {
                "write the secret there, or correct the path (it is relative to the configuration file)"
            }
            io::ErrorKind::PermissionDenied => "let the user that Patchwright runs as read it",
            _ => "name a small text file that holds nothing but the secret",
        };
        Problem::error(key, format!("`{key}`: cannot read {shown}: {error}"), remedy)
    };
    // Asked before it is opened: opening a pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() || metadata.len() > LONGEST_SECRET {
        let what = format!("`{key}`: {shown} is no small regular file");
        return Err(Problem::error(key, what, "name a file that holds nothing but the secret"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let what = format!("`{key}`: {shown} is open to other users of this machine (mode {mode:03o})");
        problems.push(Problem::warning(key, what, format!("chmod 600 {shown}")));
    }
    let mut text = String::new();
    let mut file = File::open(path).map_err(|error| unreadable(&error))?.take(LONGEST_SECRET);
    file.read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(SecretString::from(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned()))
}

/// Refuses what no token is: nothing, or something with white space around it or control characters in it.
fn sound(key: &str, reference: &SecretRef, value: SecretString) -> Result<SecretString, Problem> {
    let text = value.expose_secret();
    let what = if text.trim().is_empty() {
        "is empty"
    } else if text.trim() != text || text.contains(char::is_control) {
        "has white space around it or more than one line"
    } else {
        return Ok(value);
    };
    Err(Problem::error(
        key,
        format!("`{key}`: the secret in {reference} {what}"),
        "put the secret there and nothing else",
    ))
}
