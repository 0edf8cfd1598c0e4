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
    App, Options, Package,
    routes::{Limits, Readiness, router},
};

/// Listens, then serves the routes of `app` until SIGTERM or SIGINT.
pub(crate) async fn run(
    package: Package,
    started: Instant,
    options: &Options,
    app: App<'_>,
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

#[cfg(test)]
mod tests {
    use std::{future::pending, net::SocketAddr, time::Instant};

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        task::JoinHandle,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(100);

    struct Running {
        addr: SocketAddr,
        /// Notifies when `/slow` or `/stuck` has begun.
        begun: Arc<Notify>,
        /// Lets `/slow` end.
        end: Arc<Notify>,
        stop: Arc<Notify>,
        server: JoinHandle<anyhow::Result<()>>,
    }

    impl Running {
        async fn start(drain: Duration, grace: Duration) -> Self {
            let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (slow, stuck, ended) = (Arc::clone(&begun), Arc::clone(&begun), Arc::clone(&end));
            let slow = async move || {
                slow.notify_one();
                ended.notified().await;
            };
            let stuck = async move || {
                stuck.notify_one();
                pending::<()>().await;
            };
            let app = Router::new()
                .route("/quick", get("done"))
                .route("/slow", get(slow))
                .route("/stuck", get(stuck))
                .route("/panic", get(async || -> &str { panic!("on purpose") }));
            let package = Package { name: "test", version: "1.2.3" };
            let readiness = Readiness::default();
            let limits = Limits { body_bytes: 0, time: LONG };
            let router = router(package, Instant::now(), readiness.clone(), &limits, app);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let stop = Arc::new(Notify::new());
            let notified = Arc::clone(&stop);
            let server = tokio::spawn(async move {
                serve(listener, router, &readiness, &notified, drain, grace).await
            });
            Self { addr, begun, end, stop, server }
        }

        /// Sends a request; the response's status can be awaited.
        async fn get(&self, path: &str) -> JoinHandle<String> {
            let mut stream = TcpStream::connect(self.addr).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            tokio::spawn(async move {
                let mut response = [0; 12];
                stream.read_exact(&mut response).await.unwrap();
                String::from_utf8(response[9..].to_vec()).unwrap()
            })
        }

        /// Waits for the end and tells how long that took.
        async fn ended(self) -> Duration {
            let started = Instant::now();
            self.server.await.unwrap().unwrap();
            started.elapsed()
        }
    }

    #[tokio::test]
    async fn a_panic_leaves_the_others_alone() {
        let running = Running::start(LONG, LONG).await;
        assert_eq!(running.get("/panic").await.await.unwrap(), "500");
        assert_eq!(running.get("/quick").await.await.unwrap(), "200");
    }

    #[tokio::test]
    async fn open_requests_are_finished() {
        let running = Running::start(Duration::ZERO, LONG).await;
        let slow = running.get("/slow").await;
        running.begun.notified().await;
        running.stop.notify_one();
        sleep(SHORT).await;
        assert!(!running.server.is_finished());
        running.end.notify_one();
        assert_eq!(slow.await.unwrap(), "200");
        assert!(running.ended().await < LONG);
    }

    #[tokio::test]
    async fn open_requests_are_given_up_after_the_grace_period() {
        let running = Running::start(Duration::ZERO, SHORT).await;
        let _stuck = running.get("/stuck").await;
        running.begun.notified().await;
        running.stop.notify_one();
        let time = running.ended().await;
        assert!(SHORT <= time && time < LONG, "{time:?}");
    }

    #[tokio::test]
    async fn a_draining_server_answers_but_is_not_ready() {
        let running = Running::start(LONG, LONG).await;
        assert_eq!(running.get("/readyz").await.await.unwrap(), "200");
        running.stop.notify_one();
        while running.get("/readyz").await.await.unwrap() != "503" {
            sleep(SHORT).await;
        }
        assert_eq!(running.get("/quick").await.await.unwrap(), "200");
    }

    #[tokio::test]
    async fn draining_takes_its_time() {
        let running = Running::start(SHORT, LONG).await;
        running.stop.notify_one();
        let time = running.ended().await;
        assert!(SHORT <= time && time < LONG, "{time:?}");
    }

    #[tokio::test]
    async fn each_further_stop_ends_a_phase() {
        let running = Running::start(LONG * 2, LONG * 2).await;
        let _stuck = running.get("/stuck").await;
        running.begun.notified().await;
        for _ in 0..3 {
            running.stop.notify_one();
            sleep(SHORT).await;
        }
        assert!(running.ended().await < LONG);
    }
}
