//! Settings from outside the file: flags, `PATCHWRIGHT_…` variables and the conventional variables.
//!
//! Invariant: each is checked by itself, so that an error names the flag or variable; its value is never repeated.

use serde::Deserialize;
use toml::de::{DeValue, ValueDeserializer};
use toml::{Table, Value};

use super::Config;
use super::document::{check_value, explained};
use super::environment::Environment;
use super::nearest::nearest;
use super::problem::Problem;
use super::shape::{self, Kind, Shape};

/// What the names of our own variables begin with.
const PREFIX: &str = "PATCHWRIGHT_";

/// Variables of that form which are no settings: the file's path, the log filter, and what we tell an agent and its
/// processes. An agent may work on a repository that calls Patchwright, such as this one.
const RESERVED: [&str; 5] =
    ["PATCHWRIGHT_CONFIG", "PATCHWRIGHT_LOG", "PATCHWRIGHT_RUN", "PATCHWRIGHT_CONTEXT_DIR", "PATCHWRIGHT_RESULT_FILE"];

/// Variables that other tools use too, and the settings that they stand for.
const CONVENTIONAL: [(&str, &str); 3] =
    [("SENTRY_URL", "sentry.url"), ("SENTRY_ORG", "sentry.org"), ("DATABASE_URL", "store.url")];

/// One setting from outside the file.
#[derive(Debug)]
pub(super) struct Override {
    /// Dotted key.
    pub(super) key: String,
    /// How a person set it, such as `PATCHWRIGHT_WORKER__COUNT`.
    pub(super) from: String,
    value: Value,
}

impl Override {
    /// Puts the value into its place in a table.
    pub(super) fn apply(self, table: &mut Table) {
        insert(table, &self.key, self.value);
    }
}

/// Everything that is set outside the file, the weakest first.
pub(super) fn all(env: &Environment, flags: &[(&str, String)]) -> (Vec<Override>, Vec<Problem>) {
    let leaves = shape::config().leaves();
    let conventional = CONVENTIONAL.into_iter().filter_map(|(name, key)| Some((name.to_owned(), key, env.get(name)?)));
    let mut results: Vec<_> = conventional.map(|(name, key, text)| one(&leaves, name, key, text)).collect();
    for (name, text) in env.iter().filter(|(name, text)| is_setting(name, text)) {
        let key = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase().replace("__", ".");
        results.push(one(&leaves, name.to_owned(), &key, text));
    }
    for (key, text) in flags {
        results.push(one(&leaves, format!("flag `{key}`"), key, text));
    }
    let mut overrides = Vec::new();
    let mut problems: Vec<Problem> = env.not_text().filter(|name| is_ours(name)).map(not_text).collect();
    for result in results {
        match result {
            Ok(one) => overrides.push(one),
            Err(mut found) => problems.append(&mut found),
        }
    }
    (overrides, problems)
}

/// The name of the variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Whether a setting or a secret of ours is taken from a variable of this name where nothing else is configured.
fn is_ours(name: &str) -> bool {
    let secret = ["SENTRY_AUTH_TOKEN", "SENTRY_WEBHOOK_SECRET", "GITHUB_TOKEN"].contains(&name);
    secret || name.starts_with(PREFIX) || CONVENTIONAL.iter().any(|(known, _)| *known == name)
}

fn not_text(name: &str) -> Problem {
    Problem::error("", format!("the variable {name} is not UTF-8 text"), "set it to text, or take it away")
}

fn is_setting(name: &str, text: &str) -> bool {
    name.starts_with(PREFIX) && !text.is_empty() && !RESERVED.contains(&name) && !is_service_link(name, text)
}

/// Kubernetes describes a service called `patchwright` to every pod beside it by variables such as
/// `PATCHWRIGHT_SERVICE_HOST` and `PATCHWRIGHT_PORT_8080_TCP_ADDR`.
fn is_service_link(name: &str, text: &str) -> bool {
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.contains("_PORT_")
            || (name.ends_with("_PORT") && text.contains("://")))
}

fn one(leaves: &[(String, Shape<'_>)], from: String, key: &str, text: &str) -> Result<Override, Vec<Problem>> {
    let Some((_, shape)) = leaves.iter().find(|(leaf, _)| leaf == key) else {
        return Err(vec![unknown(leaves, &from, key)]);
    };
    let blame = |problem: Problem| Problem { what: format!("{from}: {}", problem.what), ..problem };
    let value = value(text, *shape, key).map_err(|found| found.into_iter().map(blame).collect::<Vec<_>>())?;
    let mut alone = Table::new();
    insert(&mut alone, key, value.clone());
    match Config::deserialize(alone) {
        Ok(_) => Ok(Override { key: key.to_owned(), from, value }),
        Err(error) => Err(vec![blame(explained(key, error.message()))]),
    }
}

fn unknown(leaves: &[(String, Shape<'_>)], from: &str, key: &str) -> Problem {
    let is_flag = from.starts_with("flag");
    let shown = |key: &str| if is_flag { key.to_owned() } else { variable(key) };
    // The underscore is the usual slip: `WORKER_COUNT` for `WORKER__COUNT`.
    let flat = |key: &str| key.replace(['.', '_'], "");
    let slip = leaves.iter().find(|(leaf, _)| flat(leaf) == flat(key)).map(|(leaf, _)| leaf.as_str());
    let remedy = match slip.or_else(|| nearest(key, leaves.iter().map(|(leaf, _)| leaf.as_str()))) {
        Some(near) => format!("did you mean `{}`?", shown(near)),
        None => "remove it, or see docs/configuration.md for what can be set".to_owned(),
    };
    Problem::error(key, format!("{from}: unknown key `{key}`"), remedy)
}

/// Reads a value as its key wants it: as it stands, or as TOML for what has a structure.
fn value(text: &str, shape: Shape<'_>, key: &str) -> Result<Value, Vec<Problem>> {
    let text = text.trim();
    let wrong = |what: &str, remedy: &str| vec![Problem::error(key, format!("`{key}` is not {what}"), remedy)];
    if shape.takes(Kind::Text) {
        let choices_and_formats = DeValue::String(text.into());
        let found = check_value(&toml::Spanned::new(0..0, choices_and_formats), shape, key);
        return if found.is_empty() { Ok(Value::String(text.to_owned())) } else { Err(found) };
    }
    if shape.takes(Kind::Integer) {
        let number = text.parse::<u32>().map_err(|_| wrong("a whole number", "write digits only, such as 2"))?;
        return Ok(Value::Integer(number.into()));
    }
    if shape.takes(Kind::Boolean) {
        let truth = text.parse().map_err(|_| wrong("a yes or no", "write `true` or `false`"))?;
        return Ok(Value::Boolean(truth));
    }
    let words = shape.items().is_some_and(|items| items.takes(Kind::Text));
    if words && !text.starts_with('[') {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        return Ok(parts.map(|part| Value::String(part.to_owned())).collect::<Vec<_>>().into());
    }
    let not_toml = || wrong("TOML", "write it as in the file, on one line: `[…]` for an array, `{…}` for a table");
    let parsed = DeValue::parse(text).map_err(|_| not_toml())?;
    let found = check_value(&parsed, shape, key);
    if !found.is_empty() {
        return Err(found);
    }
    ValueDeserializer::parse(text).and_then(Value::deserialize).map_err(|_| not_toml())
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                insert(section, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_variable_that_leads_back_to_it() {
        for (key, _) in shape::config().leaves() {
            let name = variable(&key);
            assert_eq!(name.strip_prefix(PREFIX).unwrap().to_lowercase().replace("__", "."), key);
            assert!(is_setting(&name, "x"), "{name}");
        }
    }

    #[test]
    fn variables_of_kubernetes_are_no_settings() {
        for (name, text) in [
            ("PATCHWRIGHT_SERVICE_HOST", "10.0.0.7"),
            ("PATCHWRIGHT_SERVICE_PORT_HTTP", "8080"),
            ("PATCHWRIGHT_PORT", "tcp://10.0.0.7:8080"),
            ("PATCHWRIGHT_PORT_8080_TCP_ADDR", "10.0.0.7"),
            ("PATCHWRIGHT_WEB_SERVICE_HOST", "10.0.0.7"),
        ] {
            assert!(!is_setting(name, text), "{name}");
        }
        assert!(is_setting("PATCHWRIGHT_PORT", "8080"), "a person's guess at a setting is not passed over");
    }
}
