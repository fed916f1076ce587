//! `patchwright demo`: the whole path on a sample repository.
//!
//! Invariant: everything between the signed request and the draft pull request is the code that runs in production;
//! only the repository, the alert and (unless another is named) the agent are made for the demo, and labelled so.

mod sample;

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::screen::{Screen, Tone, visible_block};
use super::{CliError, Start, live, serve, setup};
use crate::agent::profile;
use crate::forge::RepositoryId;
use crate::git::mirror::Mirror;
use crate::git::objects;
use crate::job::JobId;
use crate::outcome::Outcome;
use crate::pipeline::Seams;
use crate::process;
use crate::source::sentry::signature;

const ALERT: &str = include_str!("../../demo/alert.json");
const SCRIPTED_AGENT: &str = include_str!("../../demo/scripted_agent.py");

/// Arguments of `patchwright demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use a real agent: a built-in profile such as `claude`, or a command line. Default: a scripted stand-in.
    #[arg(long, value_name = "PROFILE OR COMMAND")]
    agent: Option<String>,
    /// Folder for everything that the demo makes. Default: a new one in the system's folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Leave the server running afterwards, until Ctrl-C.
    #[arg(long)]
    keep_serving: bool,
}

/// Runs the command.
///
/// # Errors
/// Where a needed program is missing, or the path did not lead to a pull request.
pub async fn run(start: &Start, args: Args, screen: &mut Screen) -> Result<(), CliError> {
    for program in ["git", "python3"] {
        process::find_program(program, Path::new("/"), start.environment.path()).ok_or_else(|| {
            CliError::Usage(format!(
                "the demo needs `{program}`, which is not on PATH; on Debian: apt install {program}"
            ))
        })?;
    }
    let folder = folder(args.dir.as_deref())?;
    headline(screen, "1. A repository with a planted bug and a history")?;
    let repository = sample::make(&folder.join("forge").join("acme").join("shop.git"))?;
    for commit in &repository.commits {
        screen.line(Tone::Plain, &format!("    {} {}", &commit.id[..8.min(commit.id.len())], commit.subject))?;
    }
    let (config_file, agent) = write_config(&folder, args.agent.as_deref())?;
    screen.line(Tone::Dim, &format!("    in {}", folder.join("forge").display()))?;

    headline(screen, "2. The real server, with an embedded SQLite database")?;
    let environment = start.environment.clone();
    let own = Start { config: Some(config_file.clone()), set: start.set.clone(), environment };
    let (config, secrets) = setup::checked(&own)?;
    let seams = setup::seams(&own, config, secrets).await?;
    let service = serve::start_service(&seams).await?;
    screen.line(Tone::Plain, &format!("    listening on http://{}", service.address))?;
    screen.line(Tone::Plain, &format!("    agent: {agent}"))?;

    headline(screen, "3. A signed Sentry alert over HTTP")?;
    let job = post_alert(&seams, service.address, screen).await?;

    headline(screen, &format!("4. Job {job}, as it happens"))?;
    let done = live::follow(&*seams.store, job, &mut 0, screen).await?;
    let opened = match &done.outcome {
        Some(Outcome::Opened { .. }) => show_pull_request(&seams, job, screen).await.map(|()| true)?,
        _ => false,
    };
    where_it_is(&folder, &config_file, job, screen)?;
    if args.keep_serving {
        screen.line(Tone::Bold, &format!("\nserving on http://{} until Ctrl-C", service.address))?;
        serve::StopSignals::listen()?.next().await;
    }
    service.stop().await?;
    if opened { Ok(()) } else { Err(CliError::Negative) }
}

fn headline(screen: &mut Screen, text: &str) -> Result<(), CliError> {
    screen.line(Tone::Plain, "")?;
    Ok(screen.line(Tone::Bold, text)?)
}

/// A new folder for the demo, owner-only.
fn folder(asked: Option<&Path>) -> Result<PathBuf, CliError> {
    let Some(path) = asked else {
        let folder = tempfile::Builder::new()
            .prefix("patchwright-demo-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .context("no temporary folder can be made")?;
        return Ok(folder.keep());
    };
    let taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        return Err(CliError::Usage(format!("{} is not empty; name a new folder with --dir", path.display())));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path.canonicalize().context("the folder was just made")?)
}

/// Writes a configuration such as a user would write, with a fresh webhook secret; answers its path and the agent shown.
fn write_config(folder: &Path, agent: Option<&str>) -> Result<(PathBuf, String), CliError> {
    let secret_file = folder.join("webhook-secret");
    let secret = std::fs::read("/proc/sys/kernel/random/uuid").context("no randomness for the webhook secret")?;
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&secret_file).context("cannot keep the secret")?;
    std::io::Write::write_all(&mut file, secret.trim_ascii())?;

    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |part: &str| quoted(&folder.join(part).display().to_string());
    let (name, command, shown) = match agent {
        None => {
            let script = folder.join("scripted_agent.py");
            std::fs::write(&script, SCRIPTED_AGENT).context("cannot write the scripted agent")?;
            let command = format!("[\"python3\", {}]", quoted(&script.display().to_string()));
            ("scripted", Some(command), "a SCRIPTED stand-in, not an AI (use --agent for a real one)".to_owned())
        }
        Some(name) if profile::names().iter().any(|known| known == name) => (name, None, format!("`{name}`")),
        Some(line) => ("yours", Some(format!("[\"sh\", \"-c\", {}]", quoted(line))), format!("`{line}`")),
    };
    let agents = command.map(|command| format!("[agents.{name}]\ncommand = {command}\n\n")).unwrap_or_default();
    let text = format!(
        "# Written by `patchwright demo`.\ndata_dir = {data}\n\n[server]\nlisten = \"127.0.0.1:0\"\n\n[sentry]\n\
         webhook_secrets = [{secret}]\n\n[forge]\nkind = \"directory\"\npath = {forge}\n\n{agents}[[project]]\n\
         sentry = \"acme/shop\"\nrepository = \"acme/shop\"\nagent = {agent}\n",
        data = path("data"),
        secret = quoted(&format!("file:{}", secret_file.display())),
        forge = path("forge"),
        agent = quoted(name),
    );
    let file = folder.join("patchwright.toml");
    std::fs::write(&file, text).context("cannot write the configuration")?;
    Ok((file, shown))
}

#[derive(Deserialize)]
struct Answer {
    delivery: i64,
    job: JobId,
}

/// Signs the alert as Sentry does and posts it.
async fn post_alert(seams: &Seams, address: std::net::SocketAddr, screen: &mut Screen) -> Result<JobId, CliError> {
    let secret = seams.secrets.webhook.first().context("the demo's webhook secret is not there")?;
    let signature = signature::sign(secret.value.expose_secret(), ALERT.as_bytes());
    screen.line(
        Tone::Plain,
        &format!(
            "    POST /webhooks/sentry, {} bytes, Sentry-Hook-Signature: {}…",
            ALERT.len(),
            &signature[..12.min(signature.len())]
        ),
    )?;
    let sent = reqwest::Client::new()
        .post(format!("http://{address}/webhooks/sentry"))
        .header("Content-Type", "application/json")
        .header("Sentry-Hook-Resource", "event_alert")
        .header("Sentry-Hook-Timestamp", crate::clock::now().timestamp().to_string())
        .header("Request-ID", "demo")
        .header("Sentry-Hook-Signature", signature)
        .body(ALERT)
        .send();
    let response = sent.await.context("the alert could not be posted")?;
    let status = response.status();
    let text = response.text().await.context("the server's answer could not be read")?;
    screen.line(Tone::Plain, &format!("    {status} {}", visible_block(text.trim())))?;
    let answer: Answer = serde_json::from_str(&text).context("the server did not take the alert")?;
    screen.line(Tone::Dim, &format!("    delivery {} is committed to disk", answer.delivery))?;
    Ok(answer.job)
}

/// Prints the body and the diff of the job's pull request, read from where they are kept.
async fn show_pull_request(seams: &Seams, job: JobId, screen: &mut Screen) -> Result<(), CliError> {
    let key = seams.store.job(job).await.map_err(anyhow::Error::from)?.key;
    let known = seams.store.pull_requests(&key.source, &key.project, &key.issue).await.map_err(anyhow::Error::from)?;
    let pull_request = known.first().context("the store does not know the pull request")?;
    let id: RepositoryId = pull_request.repository.parse().map_err(anyhow::Error::msg)?;
    let forge = seams.config.forge.path.clone().unwrap_or_default();
    let pulls = forge.join(format!("{id}.pulls"));
    let body =
        std::fs::read_to_string(pulls.join(format!("{}.md", pull_request.number))).context("the body is not there")?;
    headline(screen, "5. The draft pull request: its body")?;
    screen.raw(&visible_block(&body))?;
    headline(screen, "6. Its diff")?;
    let head = seams.forge.pull_request(&id, pull_request.number).await.map_err(anyhow::Error::from)?.head;
    let mirror = Mirror::open(&seams.config.data_dir.mirrors(), &id).map_err(anyhow::Error::from)?;
    let base = objects::commit_info(&mirror, &head).await.map_err(anyhow::Error::from)?.parents;
    let base = base.first().context("the change has no parent")?;
    let diff = objects::diff(&mirror, base, &head, 64 * 1024).await.map_err(anyhow::Error::from)?;
    for line in diff.lines() {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Dim,
            _ => Tone::Plain,
        };
        screen.line(tone, &visible_block(line))?;
    }
    Ok(())
}

fn where_it_is(folder: &Path, config: &Path, job: JobId, screen: &mut Screen) -> Result<(), CliError> {
    headline(screen, "Where everything is")?;
    let rows = [
        ("configuration", config.to_path_buf()),
        ("forge (repository and pull request)", folder.join("forge")),
        ("database, mirrors", folder.join("data")),
    ];
    for (name, path) in rows {
        screen.line(Tone::Plain, &format!("    {name:<36} {}", path.display()))?;
    }
    let config = config.display();
    screen.line(Tone::Plain, &format!("    look again: patchwright --config {config} jobs show {job}"))?;
    Ok(())
}
