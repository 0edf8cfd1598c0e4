//! Metrics, in the text format that Prometheus scrapes.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::Package;

/// The media type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Clones share the same figures.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram>,
}

// Labels hold routes as they are declared, never the path of a request: their number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

impl Metrics {
    pub(crate) fn new(package: Package) -> Self {
        let requests = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        let build = Info::new([
            ("version", package.version),
            ("revision", package.revision().unwrap_or_default()),
        ]);

        let mut registry = Registry::default();
        registry.register("build", "What is running", build);
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time until the response began",
            Unit::Seconds,
            durations.clone(),
        );
        Self { registry: Arc::new(registry), requests, durations }
    }

    pub(crate) fn record(&self, route: &str, status: StatusCode, duration: Duration) {
        let request = Request { route: route.to_owned(), status: status.as_u16() };
        self.requests.get_or_create(&request).inc();
        let route = Route { route: request.route };
        self.durations.get_or_create(&route).observe(duration.as_secs_f64());
    }

    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
