//! `patchwright serve`: the receiver and the workers in one process.
//!
//! Invariant: it stops on SIGTERM and SIGINT without losing anything; a second signal stops it at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::screen::{Screen, Tone};
use super::{CliError, Start, setup};
use crate::http::{self, App};
use crate::pipeline::Seams;
use crate::store::Store;
use crate::worker;

/// Arguments of `patchwright serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address and port to listen on; over `server.listen`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    shutdown: CancellationToken,
    receiver: JoinHandle<()>,
    workers: JoinHandle<()>,
    store: Arc<dyn Store>,
}

/// Starts the receiver and the workers.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn start_service(seams: &Arc<Seams>) -> Result<Service, CliError> {
    let address = seams.config.server.listen;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another service using the port? (`server.listen` changes it)")
    })?;
    let address = listener.local_addr().context("the listening address is not known")?;
    let (shutdown, wake) = (CancellationToken::new(), Arc::new(Notify::new()));
    let app = App {
        config: Arc::new(seams.config.clone()),
        webhook_secrets: seams.secrets.webhook.clone().into(),
        store: Arc::clone(&seams.store),
        wake: Arc::clone(&wake),
        draining: shutdown.clone(),
    };
    let (router, settings, stop) = (http::router(app), seams.config.server.clone(), shutdown.clone());
    let receiver = tokio::spawn(async move { http::run(listener, router, &settings, stop).await });
    let workers = tokio::spawn(worker::run(Arc::clone(seams), wake, shutdown.clone()));
    Ok(Service { address, shutdown, receiver, workers, store: Arc::clone(&seams.store) })
}

impl Service {
    /// Stops taking requests and jobs, waits until what runs has ended or was handed back, and closes the store.
    ///
    /// # Errors
    /// Where the receiver or the workers ended unexpectedly.
    pub async fn stop(self) -> Result<(), CliError> {
        self.shutdown.cancel();
        self.workers.await.context("the workers ended unexpectedly")?;
        self.receiver.await.context("the receiver ended unexpectedly")?;
        self.store.close().await;
        Ok(())
    }

    /// Serves until a signal, then stops.
    ///
    /// # Errors
    /// Where the service ended by itself, or was stopped at once.
    pub async fn until_told(mut self, signals: &mut StopSignals) -> Result<(), CliError> {
        tokio::select! {
            _ = signals.next() => signals.settle().await,
            () = self.failed() => return Err(anyhow::anyhow!("the service ended unexpectedly; see its log").into()),
        }
        tracing::info!("stopping; a second signal stops at once");
        self.stop_or_at_once(signals).await
    }

    /// Stops, at once if there is another signal.
    ///
    /// # Errors
    /// Where there was one, or the receiver or the workers ended unexpectedly.
    pub async fn stop_or_at_once(self, signals: &mut StopSignals) -> Result<(), CliError> {
        tokio::select! {
            stopped = self.stop() => stopped,
            _ = signals.next() => Err(anyhow::anyhow!("stopped at once by a second signal").into()),
        }
    }

    /// Ends when the receiver or the workers have ended by themselves, which they should not.
    pub async fn failed(&mut self) {
        tokio::select! {
            _ = &mut self.receiver => {}
            _ = &mut self.workers => {}
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Where the configuration does not allow serving, or the service cannot be started.
pub async fn run(start: &Start, args: Args, screen: &mut Screen) -> Result<(), CliError> {
    let (mut config, secrets) = setup::checked(start)?;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    if secrets.webhook.is_empty() {
        return Err(CliError::Usage(
            "no webhook secret is configured, so no alert could be trusted: set SENTRY_WEBHOOK_SECRET to the client secret \
             of your Sentry integration, or `sentry.webhook_secrets` in patchwright.toml"
                .to_owned(),
        ));
    }
    if config.sentry.org.is_none() && config.projects.iter().any(|project| !project.sentry.contains('/')) {
        tracing::warn!(
            "`sentry.org` is not set: an alert whose addresses do not name the organisation starts nothing; set SENTRY_ORG"
        );
    }
    let seams = setup::seams(start, config, secrets).await?;
    // Before anybody can know that we are there, and so tell us to stop.
    let mut signals = StopSignals::listen()?;
    let service = start_service(&seams).await?;
    let address = service.address;
    screen.line(Tone::Plain, &format!("listening on http://{address}; send Sentry's webhooks to /webhooks/sentry"))?;
    tracing::info!(%address, workers = seams.config.worker.count, "service started");
    service.until_told(&mut signals).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Which signal it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// SIGTERM: a supervisor ends the process.
    Terminate,
    /// SIGINT: a person pressed Ctrl-C.
    Interrupt,
}

/// SIGTERM and SIGINT, heard from the moment this is made: one that comes between two waits is not lost.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Begins to listen; from now on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// Where the system lets nobody listen.
    pub fn listen() -> Result<Self, CliError> {
        let heard = |kind| signal(kind).context("SIGTERM and SIGINT cannot be listened to");
        Ok(Self { terminate: heard(SignalKind::terminate())?, interrupt: heard(SignalKind::interrupt())? })
    }

    /// Takes what belongs to the same wish: some supervisors signal a process and, a moment later, its whole group.
    pub async fn settle(&mut self) {
        while tokio::time::timeout(Duration::from_millis(50), self.next()).await.is_ok() {}
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            // Where both came, a supervisor is at work.
            biased;
            _ = self.terminate.recv() => Wish::Terminate,
            _ = self.interrupt.recv() => Wish::Interrupt,
        }
    }
}
