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

/// The architecture as container images name it, but for its variant: on stable, Rust does not tell
/// ARMv6 from ARMv7.
fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::{
        body::{Body, Bytes, to_bytes},
        http::{Request, header::CONTENT_LENGTH},
        routing,
    };
    use tower::ServiceExt as _;

    use super::*;

    const PACKAGE: Package = Package { name: "test", version: "1.2.3" };
    const LIMITS: Limits = Limits { body_bytes: 8, time: Duration::from_secs(60) };

    fn service(readiness: Readiness) -> Router {
        let app = Router::new()
            .route("/length", routing::post(async |body: Bytes| body.len().to_string()))
            .route("/panic", routing::get(async || -> &str { panic!("on purpose") }))
            .route("/stuck/{id}", routing::get(pending::<()>));
        router(PACKAGE, Instant::now(), readiness, &LIMITS, app)
    }

    async fn call(service: &Router, request: Request<Body>) -> (StatusCode, String) {
        let response = service.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(service: &Router, path: &str) -> (StatusCode, String) {
        call(service, Request::get(path).body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn only_readiness_follows_the_flag() {
        let readiness = Readiness::default();
        let service = service(readiness.clone());
        assert_eq!(get(&service, "/healthz").await.0, StatusCode::OK);
        assert_eq!(get(&service, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        readiness.set(true);
        assert_eq!(get(&service, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn info_is_an_object() {
        let (status, body) = get(&service(Readiness::default()), "/info").await;
        assert_eq!(status, StatusCode::OK);
        let info: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(info["name"], "test");
        assert_eq!(info["version"], "1.2.3");
        assert!(info["uptime_seconds"].is_u64());
        assert!(info["platform"].as_str().unwrap().starts_with(OS));
    }

    #[tokio::test]
    async fn a_panic_is_a_response() {
        let service = service(Readiness::default());
        assert_eq!(get(&service, "/panic").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }

    // Nothing but the time limit is left to wait for: the paused clock jumps to it.
    #[tokio::test(start_paused = true)]
    async fn a_request_takes_only_so_long() {
        let service = service(Readiness::default());
        assert_eq!(get(&service, "/stuck/1").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_body_is_only_so_large() {
        let service = service(Readiness::default());
        for (body, expected) in
            [("12345678", StatusCode::OK), ("123456789", StatusCode::PAYLOAD_TOO_LARGE)]
        {
            let declared = Request::post("/length").header(CONTENT_LENGTH, body.len());
            let declared = declared.body(Body::from(body)).unwrap();
            assert_eq!(call(&service, declared).await.0, expected);

            let chunked = Body::from_stream(Body::from(body).into_data_stream());
            let chunked = Request::post("/length").body(chunked).unwrap();
            assert_eq!(call(&service, chunked).await.0, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn metrics_count_routes_not_paths() {
        let service = service(Readiness::default());
        for path in ["/stuck/1", "/stuck/2", "/panic", "/nowhere", "/healthz"] {
            get(&service, path).await;
        }
        let (status, metrics) = get(&service, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        for line in [
            r#"http_requests_total{route="/stuck/{id}",status="503"} 2"#,
            r#"http_requests_total{route="/panic",status="500"} 1"#,
            r#"http_requests_total{route="",status="404"} 1"#,
            r#"http_request_duration_seconds_count{route="/panic"} 1"#,
        ] {
            assert!(metrics.lines().any(|other| other == line), "{line} is not in\n{metrics}");
        }
        assert!(!metrics.contains("/healthz"));
    }
}
