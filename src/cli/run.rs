//! `patchwright run`: one job in the foreground.
//!
//! Invariant: the job is an ordinary one in the ordinary store; it is resumed by any worker if this process dies.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::screen::{Screen, Tone};
use super::serve::{StopSignals, Wish};
use super::{CliError, Start, live, setup};
use crate::alert::{Alert, Reason};
use crate::clock;
use crate::config::secret::Secrets;
use crate::config::{Config, ProjectConfig};
use crate::job::{Job, JobId, Lease};
use crate::outcome::Outcome;
use crate::pipeline::Seams;
use crate::source::sentry::locate::Reference;
use crate::source::sentry::webhook::Meaning;
use crate::source::sentry::{locate, webhook};
use crate::store::{Intent, NewDelivery, Store};
use crate::{triage, worker};

/// Arguments of `patchwright run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of a Sentry issue, a short id such as `WEB-1F`, or a file with a webhook's payload.
    issue: String,
    /// Use this agent for the job.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
}

/// How often a job that another worker has is asked for again.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);

/// What a person asked for: the alert, and the payload where a file was given.
#[derive(Debug)]
pub struct Asked {
    /// The alert, its reason `requested`.
    pub alert: Alert,
    /// The payload as it was given.
    pub payload: Option<Value>,
}

/// Which issue a person means, as far as this machine knows.
#[derive(Debug)]
pub enum Wanted {
    /// It was given with its payload.
    Given(Box<Asked>),
    /// Sentry knows it.
    AtSentry(Reference),
}

/// Reads what a person typed. Nothing is opened, made or sent for it.
///
/// # Errors
/// Where the text means nothing, or the file that it names is no payload.
pub fn wanted(config: &Config, secrets: &Secrets, text: &str) -> Result<Wanted, CliError> {
    let config = &config.sentry;
    let reference = locate::parse(text, config.org.as_deref()).map_err(|error| CliError::Usage(error.to_string()))?;
    if let Reference::Payload(path) = &reference {
        let shown = path.display();
        let body = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
        let meaning = webhook::read_payload(&body, config.org.as_deref())
            .map_err(|error| CliError::Usage(format!("{shown} is not a payload that names an issue: {error}")))?;
        let mut alert = match meaning {
            Meaning::Work(alert) => *alert,
            Meaning::Close(why) => return Err(CliError::Usage(format!("{shown} names no issue to work on: {why}"))),
        };
        alert.reason = Reason::Requested;
        let payload = serde_json::from_slice(&body).with_context(|| format!("{shown} is not JSON"))?;
        return Ok(Wanted::Given(Box::new(Asked { alert, payload: Some(payload) })));
    }
    if secrets.sentry_token.is_none() {
        return Err(CliError::Usage(
            "an issue by its address or short id is looked up at Sentry: set SENTRY_AUTH_TOKEN, or give a file with the \
             webhook's payload"
                .to_owned(),
        ));
    }
    Ok(Wanted::AtSentry(reference))
}

/// Asks Sentry where that is needed.
///
/// # Errors
/// Where Sentry does not know the issue.
pub async fn asked(seams: &Seams, wanted: Wanted) -> Result<Asked, CliError> {
    match wanted {
        Wanted::Given(asked) => Ok(*asked),
        Wanted::AtSentry(reference) => {
            let alert = seams.sentry.alert_for(&reference).await.context("Sentry was asked for the issue")?;
            Ok(Asked { alert, payload: None })
        }
    }
}

/// The project of an alert, for a person who asked for it.
///
/// # Errors
/// The sentence that says why it is not worked on.
pub fn project_of<'a>(seams: &'a Seams, alert: &Alert) -> Result<&'a ProjectConfig, CliError> {
    triage::admit(&seams.config, alert).map_err(|why| CliError::Usage(why.to_string()))
}

/// Runs the command.
///
/// # Errors
/// Where the issue or its project is not known, or the job did not end with a pull request.
pub async fn run(start: &Start, args: Args, screen: &mut Screen) -> Result<(), CliError> {
    let (mut config, secrets) = setup::checked(start)?;
    if let Some(agent) = &args.agent {
        crate::agent::profile::named(&config, agent).map_err(CliError::Usage)?;
        config.projects.iter_mut().for_each(|project| project.agent = Some(agent.clone()));
    }
    let wanted = wanted(&config, &secrets, &args.issue)?;
    let seams = setup::seams(start, config, secrets).await?;
    let asked = asked(&seams, wanted).await?;
    let project = project_of(&seams, &asked.alert)?;
    let job = enqueue(&seams, &asked, &project.repository).await?;
    screen.line(Tone::Plain, &format!("job {job}"))?;
    let seen =
        seams.store.events(job, 0, u32::MAX).await.map_err(anyhow::Error::from)?.last().map_or(0, |event| event.seq);

    let claim = worker::claim_terms(&seams, &worker::owner_name());
    let mut signals = StopSignals::listen()?;
    let mut last = seen;
    let mut announced = false;
    loop {
        if let Some((claimed, lease)) = seams.store.claim_job(job, &claim).await.map_err(anyhow::Error::from)? {
            let running = Running::start(&seams, claimed, lease);
            return finished(&watch(&seams, last, running, &mut signals, screen).await?);
        }
        if !std::mem::replace(&mut announced, true) {
            let agent = if args.agent.is_some() { "; --agent has no effect on it" } else { "" };
            screen.line(
                Tone::Warn,
                &format!("another worker has this job; showing its progress, and going on here if it has died{agent}"),
            )?;
        }
        // The other worker may die or hand the job back: then it is ours.
        let following = live::follow(&*seams.store, job, &mut last, screen);
        tokio::select! {
            followed = tokio::time::timeout(CLAIM_AGAIN, following) => if let Ok(done) = followed {
                return finished(&done?);
            },
            _ = signals.next() => {
                let text = format!("no longer shown; job {job} goes on, and `patchwright jobs cancel {job}` stops it");
                return Err(anyhow::anyhow!(text).into());
            }
        }
    }
}

async fn enqueue(seams: &Seams, asked: &Asked, repository: &str) -> Result<JobId, CliError> {
    let alert = &asked.alert;
    // The moment makes the request one of its own: asking again for the same issue is not a repeated delivery.
    let body = json!({ "requested_at": clock::now(), "issue": alert.issue, "payload": asked.payload });
    let delivery = NewDelivery {
        source: "request".to_owned(),
        resource: "request".to_owned(),
        request_id: None,
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
        verified_by: "a person on this machine".to_owned(),
    };
    let intent = Intent::Work {
        alert: Box::new(alert.clone()),
        repository: repository.to_owned(),
        regression_window: seams.config.sentry.regression_window.0,
    };
    match seams.store.accept(delivery, intent).await.map_err(anyhow::Error::from)?.outcome {
        Outcome::Queued { job } | Outcome::Attached { job } => Ok(job),
        other => Err(CliError::Usage(other.to_string())),
    }
}

/// A job that runs in this process.
struct Running {
    job: JobId,
    worker: JoinHandle<()>,
    /// Hands it back.
    stop: CancellationToken,
    /// Ends it as cancelled.
    cancel: CancellationToken,
}

impl Running {
    fn start(seams: &Arc<Seams>, claimed: Job, lease: Lease) -> Self {
        let (job, stop, cancel) = (claimed.id, CancellationToken::new(), CancellationToken::new());
        let worker = {
            let (seams, stop, cancel) = (Arc::clone(seams), stop.clone(), cancel.clone());
            tokio::spawn(async move { worker::run_claimed(&seams, claimed, lease, &stop, &cancel).await })
        };
        Self { job, worker, stop, cancel }
    }

    /// Does what a signal asks for; answers what a person is told. A service beside us would take up at once what is
    /// handed back, so that a person who wants no more of a job has to end it.
    async fn end(&self, wish: Wish, store: &dyn Store) -> String {
        let job = self.job;
        match wish {
            Wish::Interrupt => {
                // Kept as well, in case that this process ends before the worker has.
                if let Err(error) = store.cancel(job).await {
                    tracing::debug!(job = job.0, %error, "the wish was not kept");
                }
                self.cancel.cancel();
                format!("stopping; job {job} is cancelled, and `patchwright jobs retry {job}` queues it again")
            }
            Wish::Terminate => {
                self.stop.cancel();
                format!("stopping; job {job} is handed back, and any worker goes on with it")
            }
        }
    }
}

/// Shows a job that runs in this process. Ctrl-C cancels it, SIGTERM hands it back, a second signal stops at once.
async fn watch(
    seams: &Seams,
    seen: i64,
    mut running: Running,
    signals: &mut StopSignals,
    screen: &mut Screen,
) -> Result<Job, CliError> {
    let (job, mut last, mut stopping) = (running.job, seen, false);
    loop {
        tokio::select! {
            ended = &mut running.worker => {
                ended.context("the worker ended unexpectedly")?;
                live::print_new(&*seams.store, job, &mut last, screen).await?;
                return Ok(seams.store.job(job).await.map_err(anyhow::Error::from)?);
            }
            wish = signals.next() => {
                if std::mem::replace(&mut stopping, true) {
                    return Err(anyhow::anyhow!("stopped at once by a second signal").into());
                }
                signals.settle().await;
                let text = running.end(wish, &*seams.store).await;
                screen.line(Tone::Warn, &format!("{text}; a second signal stops at once"))?;
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                live::print_new(&*seams.store, job, &mut last, screen).await?;
            }
        }
    }
}

/// The exit code says whether there is a pull request.
fn finished(job: &Job) -> Result<(), CliError> {
    match &job.outcome {
        Some(Outcome::Opened { .. }) => Ok(()),
        Some(_) => Err(CliError::Negative),
        None => Err(CliError::Failed(anyhow::anyhow!(
            "job {} is not finished; it goes on when a service runs, or with `patchwright run` again",
            job.id
        ))),
    }
}
