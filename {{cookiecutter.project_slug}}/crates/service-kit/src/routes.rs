//! The routes that every service has, and the middleware around its own.

use std::{
    env::consts::{ARCH, OS},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use tower_http::{
    catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, timeout::TimeoutLayer,
};
use tracing::debug;

use crate::{Package, metrics, metrics::Metrics};

/// Whether this instance wants traffic. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) time: Duration,
}

#[derive(Clone)]
struct Plumbing {
    package: Package,
    started: Instant,
    readiness: Readiness,
    metrics: Metrics,
}

/// The routes of `app` with limits and metrics, and those that operators ask. The latter have
/// neither: a probe must not be a number in a chart.
pub(crate) fn router(
    package: Package,
    started: Instant,
    readiness: Readiness,
    limits: &Limits,
    app: Router,
) -> Router {
    let metrics = Metrics::new(package);
    let app = app.layer((
        from_fn_with_state(metrics.clone(), observe),
        CatchPanicLayer::new(),
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limits.time),
        RequestBodyLimitLayer::new(limits.body_bytes),
        // axum's own limit would otherwise be the lower one of the two.
        DefaultBodyLimit::disable(),
    ));
    Router::new()
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(readyz))
        .route("/info", get(info))
        .route("/metrics", get(scrape))
        .with_state(Plumbing { package, started, readiness, metrics })
        .merge(app)
}

async fn observe(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let line = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;

    let (status, duration) = (response.status(), started.elapsed());
    metrics.record(route.as_ref().map_or("", MatchedPath::as_str), status, duration);
    debug!(method = %line.0, path = line.1, status = status.as_u16(), ?duration, "request");
    response
}

/// Fails until start-up is done and from the moment that the service is asked to stop: "send
/// traffic elsewhere". `/healthz` does not: it would mean "restart me".
async fn readyz(State(plumbing): State<Plumbing>) -> (StatusCode, &'static str) {
    if plumbing.readiness.get() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn info(State(Plumbing { package, started, .. }): State<Plumbing>) -> impl IntoResponse {
    let info = serde_json::json!({
        "name": package.name,
        "version": package.version,
        "revision": package.revision(),
        "platform": format!("{OS}/{}", architecture()),
        "uptime_seconds": started.elapsed().as_secs(),
    });
    ([(CONTENT_TYPE, "application/json")], format!("{info}\n"))
}

async fn scrape(State(plumbing): State<Plumbing>) -> Response {
    match plumbing.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The architecture as container images name it.
fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
