//! What is wrong with the relations between settings that are each sound by themselves.
//!
//! Invariant: reads nothing but the configuration, and names every problem's key and remedy; no value that could be a
//! secret is repeated.

pub(super) mod addresses;
pub(super) mod commands;
pub(super) mod projects;

pub use commands::PLACEHOLDERS;
pub use projects::is_repository_name;

use std::time::Duration;

use super::{Config, ForgeKind, GitConfig, Problem};
use crate::limits::{Limits, Size, Span};

/// A worker renews its lease several times within its length; below this, a busy machine loses jobs for no reason.
const SHORTEST_LEASE: Span = Span(Duration::from_secs(3));

/// More agents at once than any one machine has room for; each worker is a task and a connection's turn at the database.
const MOST_WORKERS: usize = 256;

/// Below this there is no room for the prompt's own text.
const SMALLEST_PROMPT: Size = Size(8 << 10);

/// Everything that is wrong; `builtin_agents` are the names of the profiles that need no `[agents]` entry.
#[must_use]
pub fn check(config: &Config, builtin_agents: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    positive(config, &mut problems);
    leases(config, &mut problems);
    limits("limits.agent", &config.limits.agent, &mut problems);
    limits("limits.tests", &config.limits.tests, &mut problems);
    addresses::check(config, &mut problems);
    credentials(config, &mut problems);
    commits(&config.git, &mut problems);
    commands::check(config, builtin_agents, &mut problems);
    projects::check(config, builtin_agents, &mut problems);
    problems
}

/// Numbers that must not be zero, since nothing would ever happen.
fn positive(config: &Config, problems: &mut Vec<Problem>) {
    let Config { server, worker, git, prompt, .. } = config;
    let zeros = [
        ("worker.count", worker.count == 0, "no job would ever run", "1 or more"),
        ("worker.per_repository", worker.per_repository == 0, "no job would ever run", "1 or more"),
        ("worker.max_runs", worker.max_runs == 0, "no job would ever run", "1 or more"),
        ("server.max_body", server.max_body.0 == 0, "every delivery would be refused", "such as \"1MiB\""),
        ("server.header_timeout", server.header_timeout.0.is_zero(), "every request would time out", "such as \"5s\""),
        ("server.body_timeout", server.body_timeout.0.is_zero(), "every request would time out", "such as \"10s\""),
        ("server.max_connections", server.max_connections == 0, "nobody could connect", "such as 512"),
        ("git.max_file", git.max_file.0 == 0, "no change could be published", "such as \"5MiB\""),
        ("git.max_files", git.max_files == 0, "no change could be published", "such as 100"),
        ("git.transfer_timeout", git.transfer_timeout.0.is_zero(), "every transfer would time out", "such as \"10m\""),
    ];
    for (key, is_zero, effect, good) in zeros {
        if is_zero {
            problems.push(Problem::error(key, format!("`{key}` is zero: {effect}"), format!("set it to {good}")));
        }
    }
    if worker.count > MOST_WORKERS {
        let what = format!("`worker.count` is more than {MOST_WORKERS}: no machine has room for so many agents");
        problems.push(Problem::error("worker.count", what, "set it to what your machine can run at once, such as 4"));
    }
    if prompt.budget < SMALLEST_PROMPT {
        let what = format!("`prompt.budget` of {} is less than the prompt's own text needs", prompt.budget);
        problems.push(Problem::error("prompt.budget", what, format!("set it to {SMALLEST_PROMPT} or more")));
    }
}

fn leases(config: &Config, problems: &mut Vec<Problem>) {
    let lease = config.worker.lease;
    if lease < SHORTEST_LEASE {
        let what = format!("`worker.lease` of {lease} is so short that a busy worker loses jobs that it is working on");
        problems.push(Problem::error("worker.lease", what, format!("set it to {SHORTEST_LEASE} or more")));
    }
    let wall = config.limits.agent.wall;
    if lease >= wall {
        let what = format!("`worker.lease` of {lease} is no shorter than `limits.agent.wall` of {wall}");
        let remedy = "set it to about \"30s\": it is renewed while a job runs, and a job waits this long after a crash";
        problems.push(Problem::warning("worker.lease", what, remedy));
    }
}

fn limits(section: &str, limits: &Limits, problems: &mut Vec<Problem>) {
    let zeros = [
        ("wall", limits.wall.0.is_zero()),
        ("silence", limits.silence.0.is_zero()),
        ("output", limits.output.0 == 0),
        ("disk", limits.disk.0 == 0),
    ];
    for (name, _) in zeros.into_iter().filter(|(_, is_zero)| *is_zero) {
        let key = format!("{section}.{name}");
        let what = format!("`{key}` is zero: every command would be ended at once");
        problems.push(Problem::error(key, what, "set it to what a run may need at most"));
    }
    if limits.silence > limits.wall {
        let key = format!("{section}.silence");
        let what = format!("`{key}` of {} is longer than `{section}.wall` of {}", limits.silence, limits.wall);
        problems.push(Problem::warning(key, what, "it never takes effect: make it shorter"));
    }
}

/// Credentials without which a command could not do its work.
fn credentials(config: &Config, problems: &mut Vec<Problem>) {
    let forge = &config.forge;
    match forge.kind {
        ForgeKind::Github if forge.token.is_none() => problems.push(Problem::error(
            "forge.token",
            "`forge.token` is missing: no pull request could be opened on GitHub",
            "set GITHUB_TOKEN, or `forge.token` to `env:NAME` or `file:PATH`",
        )),
        ForgeKind::Github if forge.path.is_some() => problems.push(Problem::warning(
            "forge.path",
            "`forge.path` has no effect on GitHub",
            "remove it, or set `forge.kind` to \"directory\"",
        )),
        ForgeKind::Directory if forge.path.is_none() => problems.push(Problem::error(
            "forge.path",
            "`forge.path` is missing: the directory forge has no folder",
            "set it to the folder that holds `owner/name.git`",
        )),
        ForgeKind::Github | ForgeKind::Directory => {}
    }
    if config.sentry.org.as_deref().is_some_and(|org| !projects::is_slug(org)) {
        let remedy = "write it as in its address: `acme` for https://acme.sentry.io";
        problems.push(Problem::error("sentry.org", "`sentry.org` is no slug of an organisation", remedy));
    }
    if config.sentry.webhook_secrets.is_empty() {
        problems.push(Problem::warning(
            "sentry.webhook_secrets",
            "`sentry.webhook_secrets` is empty: no delivery can be verified, and `serve` refuses to start",
            "set SENTRY_WEBHOOK_SECRET to the client secret of your Sentry integration",
        ));
    }
}

/// What ends up in commits and branch names.
fn commits(git: &GitConfig, problems: &mut Vec<Problem>) {
    for (key, text) in [("git.author_name", &git.author_name), ("git.author_email", &git.author_email)] {
        if text.trim().is_empty() || text.contains(['<', '>']) || text.contains(char::is_control) {
            let what = format!("`{key}` is empty or has `<`, `>` or a control character, which git cannot store");
            problems.push(Problem::error(key, what, "write a plain name or address"));
        }
    }
    if !is_ref_part(&git.branch_prefix) {
        let what = "`git.branch_prefix` cannot be part of a branch name";
        problems.push(Problem::error("git.branch_prefix", what, "use letters, digits, `-`, `_` and single `/` inside"));
    }
    for (index, trailer) in git.trailers.iter().enumerate() {
        if !is_trailer(trailer) {
            let key = format!("git.trailers[{index}]");
            let what = format!("`{key}` is not a trailer");
            problems.push(Problem::error(
                key,
                what,
                "write `Key: value` on one line, the key of letters, digits and `-`",
            ));
        }
    }
}

/// The rules of `git check-ref-format` for what comes before `/name`; a first `-` is refused as well, since it reads as an option.
fn is_ref_part(text: &str) -> bool {
    let sound = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with([' ', '.']) && !has_lock(part)
    };
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    text.split('/').all(sound) && !text.contains("..") && !text.contains("@{") && !text.contains(forbidden)
}

fn has_lock(part: &str) -> bool {
    part.to_ascii_lowercase().ends_with(".lock")
}

fn is_trailer(text: &str) -> bool {
    text.split_once(": ").is_some_and(|(key, value)| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !key.is_empty() && key.chars().all(word) && !value.trim().is_empty() && !value.contains(char::is_control)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_git_takes_may_begin_a_branch_name() {
        for good in ["patchwright", "bots/patchwright", "fix-by_bot.2"] {
            assert!(is_ref_part(good), "{good}");
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", ".a", "a/.b", "-a", "a..b", "a.lock", "a b", "a~", "a:b", "a@{b", "a\\b",
            "a\n",
        ] {
            assert!(!is_ref_part(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_trailer_is_a_key_and_a_value_on_one_line() {
        assert!(is_trailer("Reviewed-by: On-call <oncall@example.com>"));
        for bad in ["", "Key", "Key:value", "Two words: x", "Key: ", "Key: a\nFixes: b"] {
            assert!(!is_trailer(bad), "{bad:?}");
        }
    }
}
