//! Which agent the demo runs, and which variables of the environment it is given.
//!
//! Invariant: an agent that cannot be started, or a profile that was probably meant, is named before it is needed.

use std::path::Path;

use crate::agent::profile;
use crate::cli::CliError;
use crate::config::environment::Environment;
use crate::config::nearest::nearest;
use crate::config::{AgentConfig, PromptBy};
use crate::process;

/// The agent of a demo.
#[derive(Debug)]
pub(super) struct Chosen {
    /// What `agent` of the project is set to.
    pub(super) name: String,
    /// Its entry in `[agents]`; none for a built-in profile.
    pub(super) entry: Option<AgentConfig>,
    /// What people are told about it.
    pub(super) shown: String,
}

/// The agent that was asked for: a profile, a command line, or else the scripted one in `script`.
///
/// # Errors
/// A usage error where nothing of that name can be started.
pub(super) fn choose(asked: Option<&str>, script: &str, environment: &Environment) -> Result<Chosen, CliError> {
    let Some(asked) = asked else {
        return Ok(Chosen {
            name: "scripted".to_owned(),
            entry: Some(entry(vec!["python3".to_owned(), script.to_owned()])),
            shown: "a SCRIPTED stand-in, not an AI (use --agent for a real one)".to_owned(),
        });
    };
    let profiles = profile::built_in().map_err(anyhow::Error::from)?;
    let is_there = |program: &str| process::find_program(program, Path::new("/"), environment.path()).is_some();
    if let Some(agent) = profiles.get(asked) {
        let program = agent.command.first().map_or("", String::as_str);
        if !is_there(program) {
            return Err(CliError::Usage(format!(
                "the agent `{asked}` needs `{program}`, which is not on PATH; install it"
            )));
        }
        let shown = format!("`{asked}`, {}", given(&agent.pass_env, environment));
        return Ok(Chosen { name: asked.to_owned(), entry: None, shown });
    }
    let mut words = asked.split_whitespace();
    let first =
        words.next().ok_or_else(|| CliError::Usage("--agent is empty; name a profile or a command".to_owned()))?;
    // More words may begin with anything that a shell knows, such as `cd` or a variable.
    if words.next().is_none() && !is_there(first) {
        let known = || format!("built-in profiles are {}", profile::names().join(", "));
        let near = nearest(asked, profiles.keys().map(String::as_str));
        let remedy = near.map_or_else(known, |near| format!("did you mean `{near}`?"));
        return Err(CliError::Usage(format!("`{first}` is neither a profile nor a program on PATH; {remedy}")));
    }
    let mut own = entry(vec!["sh".to_owned(), "-c".to_owned(), asked.to_owned()]);
    let called = Path::new(first).file_name().and_then(|name| name.to_str());
    match profiles.into_values().find(|agent| agent.command.first().map(String::as_str) == called) {
        Some(known) => (own.pass_env, own.env) = (known.pass_env, known.env),
        None => own.pass_env = of_all_profiles(environment),
    }
    let shown = format!("`{asked}`, {}", given(&own.pass_env, environment));
    Ok(Chosen { name: "yours".to_owned(), entry: Some(own), shown })
}

fn entry(command: Vec<String>) -> AgentConfig {
    AgentConfig { command, args: Vec::new(), prompt: PromptBy::Stdin, pass_env: Vec::new(), env: Default::default() }
}

/// The variables that some profile passes on and that are set: a command that we do not know may need any of them.
fn of_all_profiles(environment: &Environment) -> Vec<String> {
    let profiles = profile::built_in().unwrap_or_default();
    let mut names: Vec<String> = profiles.into_values().flat_map(|agent| agent.pass_env).collect();
    names.sort();
    names.dedup();
    names.retain(|name| environment.get(name).is_some());
    names
}

fn given(names: &[String], environment: &Environment) -> String {
    let set: Vec<&str> = names.iter().map(String::as_str).filter(|name| environment.get(name).is_some()).collect();
    match (set.is_empty(), names.is_empty()) {
        (false, _) => format!("which gets {} of your variables", set.join(", ")),
        (true, true) => "which gets none of your variables".to_owned(),
        (true, false) => format!("which may not reach its model: none of {} is set", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A machine with the programs `claude` and `mine`, and with these variables.
    fn machine(variables: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
        let bin = tempfile::tempdir().unwrap();
        for name in ["claude", "mine"] {
            std::fs::write(bin.path().join(name), "").unwrap();
            std::fs::set_permissions(bin.path().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = ("PATH", bin.path().to_str().unwrap());
        let environment = variables.iter().copied().chain([path]).collect();
        (bin, environment)
    }

    #[test]
    fn a_command_of_a_known_agent_gets_what_its_profile_gets() {
        let (_bin, environment) = machine(&[("ANTHROPIC_API_KEY", "k"), ("GEMINI_API_KEY", "k")]);
        for line in ["claude -p --model small", "/opt/bin/claude -p"] {
            let chosen = choose(Some(line), "", &environment).unwrap();
            let (own, profile) = (chosen.entry.unwrap(), profile::built_in().unwrap().remove("claude").unwrap());
            assert_eq!((own.pass_env, own.env), (profile.pass_env, profile.env), "{line}");
            assert!(chosen.shown.contains("gets ANTHROPIC_API_KEY of your"), "{}", chosen.shown);
        }
    }

    #[test]
    fn a_command_that_nobody_knows_gets_every_model_key_that_is_set() {
        let (_bin, environment) = machine(&[("OPENAI_API_KEY", "k"), ("GEMINI_API_KEY", "k"), ("OTHER", "x")]);
        let chosen = choose(Some("cd . && mine"), "", &environment).unwrap();
        assert_eq!(chosen.entry.unwrap().pass_env, ["GEMINI_API_KEY", "OPENAI_API_KEY"]);
        assert!(chosen.shown.contains("GEMINI_API_KEY, OPENAI_API_KEY"), "{}", chosen.shown);
    }

    #[test]
    fn a_profile_without_its_key_is_said_to_be_without() {
        let (_bin, environment) = machine(&[]);
        let chosen = choose(Some("claude"), "", &environment).unwrap();
        assert_eq!((chosen.name.as_str(), chosen.entry.is_none()), ("claude", true));
        assert!(chosen.shown.contains("none of ANTHROPIC_API_KEY"), "{}", chosen.shown);
    }

    #[test]
    fn an_agent_that_is_not_there_is_named_with_what_was_probably_meant() {
        let (_bin, environment) = machine(&[]);
        for (asked, expected) in [
            ("codex", "`codex`, which is not on PATH"),
            ("cluade", "did you mean `claude`?"),
            ("nothing-like-it", "built-in profiles are aider, claude"),
            ("  ", "--agent is empty"),
        ] {
            let error = choose(Some(asked), "", &environment).unwrap_err().to_string();
            assert!(error.contains(expected), "{asked}: {error}");
        }
    }
}
