//! Commands of agents and projects, and the environment that they are given.
//!
//! Invariant: no command of ours is handed one of our own credentials.

use std::collections::BTreeSet;

use crate::config::nearest::nearest;
use crate::config::secret::{SecretRef, is_variable_name};
use crate::config::{AgentConfig, CommandLine, Config, Problem, PromptBy};

/// What an agent's command may contain, without the braces.
pub const PLACEHOLDERS: [&str; 4] = ["prompt_file", "workspace", "context_dir", "result_file"];

/// Variables that hold credentials of ours by convention.
const OURS: [&str; 4] = ["GITHUB_TOKEN", "SENTRY_AUTH_TOKEN", "SENTRY_WEBHOOK_SECRET", "DATABASE_URL"];

/// Whether a variable of this name is set by Patchwright itself, to folders and files of the run.
fn is_reserved(name: &str) -> bool {
    matches!(name, "HOME" | "TMPDIR") || name.starts_with("PATCHWRIGHT_")
}

pub(super) fn check(config: &Config, builtin_agents: &[&str], problems: &mut Vec<Problem>) {
    let ours = credentials(config);
    for (name, agent) in &config.agents {
        let key = format!("agents.{name}");
        // Without a command of its own, it adds to a profile whose command is checked.
        let extends = agent.command.is_empty() && builtin_agents.contains(&name.as_str());
        command(&key, agent, extends, problems);
        passed(&format!("{key}.pass_env"), &agent.pass_env, &ours, problems);
        for (variable, value) in &agent.env {
            set(&format!("{key}.env.{variable}"), variable, value, &ours, problems);
        }
    }
    for (index, project) in config.projects.iter().enumerate() {
        let key = format!("project[{index}]");
        passed(&format!("{key}.pass_env"), &project.pass_env, &ours, problems);
        for (name, command) in [("setup", &project.setup), ("test", &project.test)] {
            problems.extend(command.as_ref().and_then(|command| empty(&format!("{key}.{name}"), command)));
        }
    }
}

/// A command that has nothing to start.
pub(in crate::config) fn empty(key: &str, command: &CommandLine) -> Option<Problem> {
    let nothing = match command {
        CommandLine::Shell(line) => line.trim().is_empty(),
        CommandLine::Argv(argv) => argv.first().is_none_or(|program| program.trim().is_empty()),
    };
    nothing.then(|| Problem::error(key, format!("`{key}` is an empty command"), "write a command, or remove the key"))
}

/// Names of all variables from which this configuration takes a credential.
fn credentials(config: &Config) -> BTreeSet<&str> {
    let references = config.sentry.webhook_secrets.iter().chain(&config.sentry.token).chain(&config.forge.token);
    let named = references.filter_map(|reference| match reference {
        SecretRef::Env(name) => Some(name.as_str()),
        SecretRef::File(_) => None,
    });
    OURS.into_iter().chain(named).collect()
}

fn command(key: &str, agent: &AgentConfig, extends: bool, problems: &mut Vec<Problem>) {
    let key = format!("{key}.command");
    if !extends && agent.command.is_empty() {
        return problems.push(Problem::error(key.as_str(), format!("`{key}` is missing"), "add `command = …` here"));
    }
    if !extends && agent.command.first().is_none_or(|program| program.trim().is_empty()) {
        let what = format!("`{key}` names no program");
        return problems.push(Problem::error(key, what, "write the program and its arguments"));
    }
    let found: Vec<&str> =
        agent.command.iter().chain(&agent.args).flat_map(|argument| placeholders(argument)).collect();
    for name in found.iter().filter(|name| !PLACEHOLDERS.contains(name)) {
        let what = format!("`{key}` has an unknown placeholder `{{{name}}}`");
        problems.push(match nearest(name, PLACEHOLDERS) {
            Some(near) => Problem::error(key.as_str(), what, format!("did you mean `{{{near}}}`?")),
            None => Problem::warning(key.as_str(), what, format!("it is left as it stands; known are {}", known())),
        });
    }
    if !extends && agent.prompt == PromptBy::File && !found.contains(&"prompt_file") {
        let what = format!("`{key}` does not contain `{{prompt_file}}` although the prompt is given as a file");
        problems.push(Problem::error(key, what, "add `{prompt_file}` as an argument, or set `prompt = \"stdin\"`"));
    }
}

/// The words in braces that look like placeholders; `${name}` is the shell's.
fn placeholders(argument: &str) -> impl Iterator<Item = &str> {
    argument.match_indices('{').filter_map(move |(start, _)| {
        let before = argument.get(..start)?;
        let name = argument.get(start + 1..)?.split_once('}')?.0;
        let word = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (word && !before.ends_with('$')).then_some(name)
    })
}

fn known() -> String {
    PLACEHOLDERS.map(|name| format!("`{{{name}}}`")).join(", ")
}

/// Variables of our environment that a command is to get.
fn passed(key: &str, names: &[String], ours: &BTreeSet<&str>, problems: &mut Vec<Problem>) {
    for (index, name) in names.iter().enumerate() {
        let key = format!("{key}[{index}]");
        if ours.contains(name.as_str()) {
            let what = format!("`{key}` would hand over Patchwright's own credential {name}");
            problems.push(Problem::error(key, what, "remove it; a command that needs access gets a token of its own"));
        } else if is_reserved(name) {
            problems.push(set_by_us(&key, name));
        } else if !is_variable_name(name) {
            let what = format!("`{key}` is not the name of a variable");
            problems.push(Problem::error(key, what, "write the name only: the value stays in the environment"));
        }
    }
}

fn set_by_us(key: &str, name: &str) -> Problem {
    let what = format!("`{key}` would replace {name}, which Patchwright sets for each run");
    Problem::error(key, what, "remove it; every command has a HOME and a TMPDIR of its own")
}

/// A variable that is set for an agent.
fn set(key: &str, name: &str, value: &str, ours: &BTreeSet<&str>, problems: &mut Vec<Problem>) {
    let sounds_secret = ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.to_uppercase().ends_with(word));
    if ours.contains(name) {
        let what = format!("`{key}` has the name of one of Patchwright's own credentials");
        problems.push(Problem::error(key, what, "remove it; an agent that needs access gets a token of its own"));
    } else if is_reserved(name) {
        problems.push(set_by_us(key, name));
    } else if !is_variable_name(name) || value.contains('\0') {
        problems.push(Problem::error(key, format!("`{key}` cannot be a variable"), "use letters, digits and `_`"));
    } else if sounds_secret && !value.is_empty() {
        let what = format!("`{key}` looks like a secret in the clear");
        let remedy = format!("set {name} in Patchwright's environment and name it in `pass_env`");
        problems.push(Problem::error(key, what, remedy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_shell_variables_and_json() {
        let found: Vec<_> = placeholders("--x={prompt_file} ${home} {\"a\":1} {} {A} {{workspace}}").collect();
        assert_eq!(found, ["prompt_file", "workspace"]);
    }
}
