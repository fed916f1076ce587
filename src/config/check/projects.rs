//! The `[[project]]` entries: whom they concern, and where they lead.
//!
//! Invariant: a path of a project stays inside its checkout, and one Sentry project leads to one entry.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::config::nearest::nearest;
use crate::config::{Config, Problem, ProjectConfig};

/// The levels that Sentry gives to events.
const LEVELS: [&str; 5] = ["fatal", "error", "warning", "info", "debug"];

pub(super) fn check(config: &Config, builtin_agents: &[&str], problems: &mut Vec<Problem>) {
    if config.projects.is_empty() {
        let what = "there is no `[[project]]`: every alert would be ignored";
        problems.push(Problem::warning("project", what, "add one for each Sentry project to work on"));
    }
    let agents: Vec<&str> = config.agents.keys().map(String::as_str).chain(builtin_agents.iter().copied()).collect();
    let mut seen = BTreeSet::new();
    for (index, project) in config.projects.iter().enumerate() {
        let key = |name: &str| format!("project[{index}].{name}");
        if !seen.insert(project.sentry.as_str()) {
            let what = format!("the Sentry project `{}` has two `[[project]]` entries", project.sentry);
            problems.push(Problem::error(key("sentry"), what, "keep one; name further repositories in `related`"));
        }
        names(project, &key, problems);
        problems.extend(project.path.as_deref().and_then(|path| escaping(&key("path"), path)));
        problems.extend(unknown_levels(&key("levels"), &project.levels));
        if project.levels.is_empty() {
            let what = format!("`{}` is empty: every alert with a level would be ignored", key("levels"));
            problems.push(Problem::error(key("levels"), what, "remove it for the default, `error` and `fatal`"));
        }
        match project.agent.as_deref() {
            Some(agent) => problems.extend(unknown_agent(&key("agent"), agent, &agents)),
            // The only one there is needs no name.
            None if config.agents.len() == 1 => {}
            None => {
                let what = format!("`{}` is not set: every job of the project would fail", key("agent"));
                let remedy = format!("name one of `[agents]` or a built-in one: {}", builtin_agents.join(", "));
                problems.push(Problem::warning(key("agent"), what, remedy));
            }
        }
    }
}

/// Whether this is `owner/name` as every forge takes it; `.git` belongs to an address.
#[must_use]
pub fn is_repository_name(text: &str) -> bool {
    // A name may begin with a dot (`acme/.github`), but must not mean a folder when it is part of a path.
    let sound = |part: &str| {
        !part.is_empty()
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            // No forge has longer ones, and a folder cannot be called so.
            && part.len() <= 100
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    text.split_once('/').is_some_and(|(owner, name)| sound(owner) && sound(name) && !name.ends_with(".git"))
}

/// A path that could leave the checkout.
pub(in crate::config) fn escaping(key: &str, path: &Path) -> Option<Problem> {
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let named = path.components().next().is_some();
    (!inside || !named).then(|| {
        Problem::error(
            key,
            format!("`{key}` is not a folder inside the repository"),
            "write a relative path without `..`, such as \"services/checkout\"",
        )
    })
}

/// Levels that no alert has.
fn unknown_levels(key: &str, levels: &[String]) -> Vec<Problem> {
    let unknown = levels.iter().enumerate().filter(|(_, level)| !LEVELS.contains(&level.as_str()));
    let problem = |(index, level): (usize, &String)| {
        let key = format!("{key}[{index}]");
        let remedy = nearest(level, LEVELS)
            .map_or_else(|| format!("write some of {}", LEVELS.join(", ")), |near| format!("did you mean `{near}`?"));
        let what = format!("`{key}` is no level that Sentry knows");
        Problem::error(key, what, remedy)
    };
    unknown.map(problem).collect()
}

fn names(project: &ProjectConfig, key: &impl Fn(&str) -> String, problems: &mut Vec<Problem>) {
    if !is_sentry_project(&project.sentry) {
        let what = format!("`{}` is no slug of a Sentry project", key("sentry"));
        problems.push(Problem::error(key("sentry"), what, "write `slug` or `org/slug`, as in the project's address"));
    }
    let related = project.related.iter().enumerate().map(|(index, name)| (key(&format!("related[{index}]")), name));
    let repositories = std::iter::once((key("repository"), &project.repository)).chain(related);
    for (key, _) in repositories.filter(|(_, name)| !is_repository_name(name)) {
        let what = format!("`{key}` is no name of a repository");
        problems.push(Problem::error(key, what, "write `owner/name`, without an address and without `.git`"));
    }
}

/// Slugs are lower case letters, digits, `-` and `_`, with at most one `/` between organisation and project.
fn is_sentry_project(text: &str) -> bool {
    text.split_once('/').map_or_else(|| is_slug(text), |(org, project)| is_slug(org) && is_slug(project))
}

/// Whether this can be the slug of an organisation or of a project.
pub(super) fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

fn unknown_agent(key: &str, agent: &str, known: &[&str]) -> Option<Problem> {
    if known.contains(&agent) {
        return None;
    }
    let remedy = match nearest(agent, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add `[agents.{agent}]`, or use one of {}", known.join(", ")),
    };
    Some(Problem::error(key, format!("`{key}`: there is no agent `{agent}`"), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_owner_and_name() {
        for good in ["acme/web", "a-b/c_d.e", "acme/.github"] {
            assert!(is_repository_name(good), "{good}");
        }
        for bad in [
            "",
            "web",
            "acme/",
            "/web",
            "a/b/c",
            "../web",
            "acme/..",
            "-a/b",
            "https://github.com/a/b",
            "a /b",
            "a/b.git",
            "a/.",
            "a/.git",
        ] {
            assert!(!is_repository_name(bad), "{bad}");
        }
    }

    #[test]
    fn paths_stay_inside_the_checkout() {
        for good in ["services/checkout", "./a", "a/..b"] {
            assert_eq!(escaping("path", Path::new(good)), None, "{good}");
        }
        for bad in ["", "/etc", "..", "a/../../b", "a/.."] {
            assert!(escaping("path", Path::new(bad)).is_some(), "{bad}");
        }
    }

    #[test]
    fn sentry_projects_are_slugs() {
        for good in ["web", "acme/web-2", "my_app"] {
            assert!(is_sentry_project(good), "{good}");
        }
        for bad in ["", "Web", "my app", "a/b/c", "/web", "acme/"] {
            assert!(!is_sentry_project(bad), "{bad}");
        }
    }
}
