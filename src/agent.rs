//! Runs the configured coding agent in a workspace and reads what it hands back.
//!
//! Invariant: the agent's environment is built here from nothing; it never holds a credential of ours, and what the
//! agent says is data, not a verdict.

pub mod handback;
pub mod profile;
pub mod stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::environment::Environment;
use crate::config::{AgentConfig, PromptBy};
use crate::process::{self, Ended, ProcessError, Program, Terms};
use handback::Handback;

/// The folders and files of one agent run.
#[derive(Clone, Debug)]
pub struct Places {
    /// The checkout that the agent starts in.
    pub workspace: PathBuf,
    /// The read-only context folder.
    pub context_dir: PathBuf,
    /// The file that holds the prompt.
    pub prompt_file: PathBuf,
    /// Where the agent may write its result.
    pub result_file: PathBuf,
    /// Its HOME, with what the setup command has left there.
    pub home: PathBuf,
    /// Its TMPDIR, likewise.
    pub tmp: PathBuf,
}

/// What an agent run came to.
#[derive(Clone, Debug)]
pub struct AgentRun {
    /// How the command ended.
    pub ended: Ended,
    /// How long it took.
    pub took: Duration,
    /// The last part of what it printed, as it came.
    pub tail: String,
    /// What it handed back, or why that could not be read.
    pub handback: Result<Option<Handback>, String>,
    /// How many processes it left behind.
    pub leftovers: usize,
}

/// Runs the agent to its end.
///
/// # Errors
/// Where the command could not be started at all.
pub async fn run(
    agent: &AgentConfig,
    places: &Places,
    prompt: &str,
    environment: &Environment,
    terms: &Terms,
) -> Result<AgentRun, ProcessError> {
    let program = Program {
        argv: agent.command.iter().map(|part| fill(part, places)).collect(),
        dir: places.workspace.clone(),
        env: environment_for(agent, places, environment),
        stdin: match agent.prompt {
            PromptBy::Stdin => prompt.as_bytes().to_vec(),
            PromptBy::File => Vec::new(),
        },
    };
    let report = process::run_untrusted(&program, terms).await?;
    Ok(AgentRun {
        ended: report.ended,
        took: report.took,
        tail: report.tail,
        handback: handback::read(&places.result_file),
        leftovers: report.leftovers,
    })
}

/// Puts paths in the place of `config::check`'s placeholders.
fn fill(part: &str, places: &Places) -> String {
    let shown = |path: &Path| path.display().to_string();
    part.replace("{prompt_file}", &shown(&places.prompt_file))
        .replace("{workspace}", &shown(&places.workspace))
        .replace("{context_dir}", &shown(&places.context_dir))
        .replace("{result_file}", &shown(&places.result_file))
}

/// The environment that every command in a workspace starts from: nothing of ours but PATH, where its toolchains are,
/// and the language.
#[must_use]
pub fn bare_environment(environment: &Environment, home: &Path, tmp: &Path) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for name in ["LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        if let Some(value) = environment.get(name) {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    env.entry("LANG".to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
    env.insert("PATH".to_owned(), environment.path().to_owned());
    env.insert("HOME".to_owned(), home.display().to_string());
    env.insert("TMPDIR".to_owned(), tmp.display().to_string());
    // Without these, bytecode and colour codes end up in the patch and in the evidence.
    env.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
    env.insert("NO_COLOR".to_owned(), "1".to_owned());
    // Runners that watch files or ask questions do neither when this is set.
    env.insert("CI".to_owned(), "true".to_owned());
    if let Some(toolchains) = rustup_home(environment) {
        env.insert("RUSTUP_HOME".to_owned(), toolchains);
    }
    env
}

/// The toolchains that `cargo` on the PATH would look for in our HOME. Not CARGO_HOME, which holds credentials.
fn rustup_home(environment: &Environment) -> Option<String> {
    let named = || environment.get("RUSTUP_HOME").map(str::to_owned);
    let usual = || Some(Path::new(environment.get("HOME")?).join(".rustup")).filter(|folder| folder.is_dir());
    named().or_else(|| Some(usual()?.display().to_string()))
}

fn environment_for(agent: &AgentConfig, places: &Places, environment: &Environment) -> BTreeMap<String, String> {
    let mut env = bare_environment(environment, &places.home, &places.tmp);
    env.insert("PATCHWRIGHT_CONTEXT_DIR".to_owned(), places.context_dir.display().to_string());
    env.insert("PATCHWRIGHT_RESULT_FILE".to_owned(), places.result_file.display().to_string());
    for name in &agent.pass_env {
        if let Some(value) = environment.get(name) {
            env.insert(name.clone(), value.to_owned());
        }
    }
    env.extend(agent.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

/// The last words of an agent, for people, from the tail of its output: its final message where it printed events, else
/// the end of the text. `redact` takes secrets out.
#[must_use]
pub fn last_words(tail: &str, redact: impl Fn(&str) -> String) -> String {
    const MOST: usize = 2_000;
    // Redacted after the event is taken apart: a secret may be behind its escapes, and its quotes may be part of one.
    if let Some(message) = stream::final_message(tail) {
        let mut message = redact(&message);
        handback::cut(&mut message);
        return message;
    }
    let text = redact(tail).lines().filter_map(stream::readable).collect::<Vec<_>>().join("\n");
    let text = text.trim();
    let mut from = text.len().saturating_sub(MOST);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let kept = &text[from..];
    // Half a secret is not recognised as one: what is cut off begins with a whole word.
    let whole = if from > 0 { kept.find(char::is_whitespace).unwrap_or(0) } else { 0 };
    kept[whole..].trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            workspace: "/w/repo".into(),
            context_dir: "/w/context".into(),
            prompt_file: "/w/prompt.md".into(),
            result_file: "/w/out/result.json".into(),
            home: "/w/home".into(),
            tmp: "/w/tmp".into(),
        }
    }

    #[test]
    fn placeholders_are_filled_anywhere_in_an_argument() {
        assert_eq!(fill("--out={result_file}", &places()), "--out=/w/out/result.json");
        assert_eq!(fill("{workspace}:{context_dir}", &places()), "/w/repo:/w/context");
    }

    #[test]
    fn the_agent_gets_what_is_passed_by_name_and_nothing_else() {
        let environment: Environment =
            [("PATH", "/bin"), ("GITHUB_TOKEN", "ghp_x"), ("MODEL_KEY", "k"), ("HOME", "/root")].into_iter().collect();
        let agent = AgentConfig {
            command: vec!["agent".into()],
            args: vec![],
            prompt: PromptBy::Stdin,
            pass_env: vec!["MODEL_KEY".into(), "NOT_SET".into()],
            env: [("MODE".to_owned(), "fix".to_owned())].into(),
        };
        let env = environment_for(&agent, &places(), &environment);
        assert_eq!(env.get("MODEL_KEY").map(String::as_str), Some("k"));
        assert_eq!(env.get("HOME").map(String::as_str), Some("/w/home"));
        assert_eq!(env.get("MODE").map(String::as_str), Some("fix"));
        assert!(!env.contains_key("GITHUB_TOKEN") && !env.contains_key("NOT_SET"));
    }

    #[test]
    fn the_toolchains_of_rustup_are_found_and_its_credentials_are_not() {
        let ours = tempfile::tempdir().unwrap();
        let home = ours.path().to_str().unwrap();
        let rustup_of = |variables: &[(&str, &str)]| {
            let environment: Environment = variables.iter().copied().collect();
            let env = bare_environment(&environment, Path::new("/w/home"), Path::new("/w/tmp"));
            assert!(!env.contains_key("CARGO_HOME"));
            env.get("RUSTUP_HOME").cloned()
        };
        assert_eq!(rustup_of(&[("HOME", home), ("CARGO_HOME", "/c")]), None);
        std::fs::create_dir(ours.path().join(".rustup")).unwrap();
        assert_eq!(rustup_of(&[("HOME", home)]), Some(format!("{home}/.rustup")));
        assert_eq!(rustup_of(&[("HOME", home), ("RUSTUP_HOME", "/r")]).as_deref(), Some("/r"));
    }

    #[test]
    fn last_words_are_cut_on_a_character() {
        let long = "é".repeat(3_000);
        let words = last_words(&long, str::to_owned);
        assert!(words.len() <= 2_000 && words.chars().all(|c| c == 'é'));
    }

    #[test]
    fn the_final_message_is_redacted_as_the_text_that_it_is() {
        let tail = "{\"type\":\"result\",\"result\":\"done \\u0073ecret\"}\n";
        assert_eq!(last_words(tail, |text| text.replace("secret", "[redacted]")), "done [redacted]");
    }

    #[test]
    fn last_words_never_begin_with_half_a_word() {
        let text = format!("{} ghp_secret then {}", "a ".repeat(500), "b".repeat(1_990));
        assert_eq!(last_words(&text, str::to_owned), format!("then {}", "b".repeat(1_990)));
    }
}
