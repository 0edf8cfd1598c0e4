//! Serving, and stopping in an orderly way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, serve::ListenerExt as _};
use tokio::{
    net::TcpListener,
    select,
    signal::unix::{SignalKind, signal},
    sync::{Notify, oneshot},
    time::sleep,
};
use tracing::{info, warn};

use crate::{
    Options, Package,
    routes::{Limits, Readiness, router},
};

/// Listens, then serves the routes of `app` until SIGTERM or SIGINT.
pub(crate) async fn run(
    package: Package,
    started: Instant,
    options: &Options,
    app: impl Future<Output = anyhow::Result<Router>>,
) -> anyhow::Result<()> {
    // First of all: PID 1 of a container does not even die of a signal that it does not handle.
    let stop = stop_signals()?;
    let listener = TcpListener::bind(options.listen_addr)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen_addr))?;
    let app = select! {
        app = app => app?,
        () = stop.notified() => return Ok(()),
    };
    let readiness = Readiness::default();
    let limits = Limits { body_bytes: options.max_body_bytes, time: options.request_timeout };
    let router = router(package, started, readiness.clone(), &limits, app);
    info!(addr = %listener.local_addr()?, version = package.full_version(), "listening");
    serve(listener, router, &readiness, &stop, options.drain, options.grace).await
}

/// Notifies at each SIGTERM and SIGINT.
fn stop_signals() -> anyhow::Result<Arc<Notify>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let stop = Arc::new(Notify::new());
    let notifier = Arc::clone(&stop);
    tokio::spawn(async move {
        loop {
            let signal = select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            info!(signal, "asked to stop");
            notifier.notify_one();
        }
    });
    Ok(stop)
}

/// Serves until `stop`, then in three phases: not ready but serving for `drain`, only finishing
/// open requests for at most `grace`, gone. Another `stop` ends a phase early.
async fn serve(
    listener: TcpListener,
    router: Router,
    readiness: &Readiness,
    stop: &Notify,
    drain: Duration,
    grace: Duration,
) -> anyhow::Result<()> {
    let (close, closed) = oneshot::channel::<()>();
    // Without TCP_NODELAY, streamed responses wait for the client's acknowledgements.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        let _ = closed.await;
    });
    let server = tokio::spawn(server.into_future());
    readiness.set(true);
    stop.notified().await;

    readiness.set(false);
    select! {
        () = sleep(drain) => {}
        () = stop.notified() => {}
    }
    drop(close);
    select! {
        outcome = server => outcome?.context("the server failed")?,
        () = sleep(grace) => warn!(?grace, "gave up on open requests"),
        () = stop.notified() => warn!("gave up on open requests"),
    }
    info!("stopped");
    Ok(())
}
