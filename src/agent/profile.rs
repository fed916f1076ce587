//! Built-in profiles: how the well-known coding agents are driven.
//!
//! Invariant: a profile is data in the same shape as `[agents.NAME]`; the operator's own entry of that name wins, or adds to
//! it where it has no command.

use std::collections::BTreeMap;

use crate::config::{AgentConfig, Config, ProjectConfig};

const PROFILES: &str = include_str!("profiles.toml");

/// The built-in profiles by name.
///
/// # Errors
/// Never in a program that passed its tests: the text is part of the program.
pub fn built_in() -> Result<BTreeMap<String, AgentConfig>, toml::de::Error> {
    toml::from_str(PROFILES)
}

/// The names of the built-in profiles.
#[must_use]
pub fn names() -> Vec<String> {
    built_in().map(|profiles| profiles.into_keys().collect()).unwrap_or_default()
}

/// The agent of a project: the one it names, else the only one there is in `[agents]`.
///
/// # Errors
/// A sentence that says what to configure.
pub fn for_project(config: &Config, project: &ProjectConfig) -> Result<(String, AgentConfig), String> {
    let name = match (&project.agent, config.agents.len()) {
        (Some(name), _) => name.clone(),
        (None, 1) => config.agents.keys().next().cloned().unwrap_or_default(),
        (None, _) => {
            return Err(format!(
                "no agent is chosen for project `{}`: set `agent` in its [[project]] to one of [agents] or to a built-in \
                 profile ({})",
                project.sentry,
                names().join(", ")
            ));
        }
    };
    named(config, &name).map(|agent| (name, agent))
}

/// The agent of this name, configured or built in.
///
/// # Errors
/// A sentence that names what there is.
pub fn named(config: &Config, name: &str) -> Result<AgentConfig, String> {
    let own = config.agents.get(name);
    let mut agent = match own.filter(|agent| !agent.command.is_empty()) {
        Some(agent) => agent.clone(),
        None => {
            let mut profile = profile(name)?;
            if let Some(more) = own {
                profile.args.extend(more.args.iter().cloned());
                profile.pass_env.extend(more.pass_env.iter().cloned());
                profile.env.extend(more.env.clone());
            }
            profile
        }
    };
    agent.command.append(&mut agent.args);
    Ok(agent)
}

fn profile(name: &str) -> Result<AgentConfig, String> {
    let mut profiles = built_in().map_err(|error| format!("the built-in profiles cannot be read: {error}"))?;
    profiles.remove(name).ok_or_else(|| {
        format!(
            "there is no agent `{name}`: add [agents.{name}] with a `command` or use a built-in profile ({})",
            names().join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;

    #[test]
    fn every_built_in_profile_passes_the_checks_of_an_operators_own_agent() {
        let config = Config { agents: built_in().unwrap(), ..Config::default() };
        assert!(config.agents.contains_key("claude") && config.agents.contains_key("codex"));
        let problems: Vec<String> = check::check(&config, &[]).iter().map(ToString::to_string).collect();
        let own: Vec<&String> = problems.iter().filter(|problem| problem.contains("agents.")).collect();
        assert!(own.is_empty(), "{own:?}");
    }

    #[test]
    fn an_agent_that_holds_itself_to_folders_may_write_its_result() {
        let profiles = built_in().unwrap();
        for name in ["claude", "codex", "gemini", "copilot"] {
            assert!(profiles[name].command.iter().any(|part| part == "{workspace}/../out"), "{name}");
        }
    }

    #[test]
    fn an_entry_without_a_command_adds_to_the_profile_of_its_name() {
        let text = "[agents.claude]\nargs = [\"--model\", \"opus\"]\npass_env = [\"HTTPS_PROXY\"]\nenv = { A = \"1\" }";
        let config: Config = toml::from_str(text).unwrap();
        let known = names();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let about_agents = |config: &Config| {
            check::check(config, &known).iter().map(ToString::to_string).filter(|text| text.contains("agents.")).count()
        };
        assert_eq!(about_agents(&config), 0);
        let (agent, profile) = (named(&config, "claude").unwrap(), &built_in().unwrap()["claude"]);
        assert_eq!(agent.command, [profile.command.as_slice(), &["--model".to_owned(), "opus".to_owned()]].concat());
        assert!(agent.pass_env.starts_with(&profile.pass_env) && agent.pass_env.ends_with(&["HTTPS_PROXY".to_owned()]));
        assert!(agent.env.contains_key("A") && agent.env.contains_key("DISABLE_AUTOUPDATER"));

        let nobody: Config = toml::from_str("[agents.mine]\nargs = [\"--fast\"]").unwrap();
        assert_eq!(about_agents(&nobody), 1);
        let mine: Config = toml::from_str("[agents.claude]\ncommand = [\"mine\"]\nargs = [\"--fast\"]").unwrap();
        let mine = named(&mine, "claude").unwrap();
        assert_eq!((mine.command, mine.pass_env), (vec!["mine".to_owned(), "--fast".to_owned()], vec![]));
    }

    #[test]
    fn the_only_configured_agent_needs_no_name() {
        let mine = AgentConfig {
            command: vec!["mine".into()],
            args: vec![],
            prompt: Default::default(),
            pass_env: vec![],
            env: BTreeMap::new(),
        };
        let mut config = Config { agents: [("mine".to_owned(), mine.clone())].into(), ..Config::default() };
        let project: ProjectConfig = toml::from_str("sentry = \"web\"\nrepository = \"acme/web\"").unwrap();
        assert_eq!(for_project(&config, &project).unwrap(), ("mine".to_owned(), mine.clone()));
        config.agents.insert("other".to_owned(), mine);
        assert!(for_project(&config, &project).unwrap_err().contains("set `agent`"));
    }
}
