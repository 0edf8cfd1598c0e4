//! The frontend: a page that shows the state of the service, and `/api`, the way to the service
//! itself. Browsers then need to know one address only.

mod page;
mod proxy;

use std::{num::ParseIntError, time::Duration};

use axum::{
    Router,
    http::{Uri, uri::Scheme},
    routing::any,
};
use clap::Parser;
use service_kit::{Options, Package};

use crate::proxy::Proxy;

const PACKAGE: Package =
    Package { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

#[derive(Debug, Parser)]
#[command(version = PACKAGE.full_version(), about)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,

    /// The service, to which /api leads
    #[arg(long, env, default_value = "http://127.0.0.1:8080", value_parser = backend_url)]
    #[arg(value_name = "URL")]
    pub backend_url: Uri,

    /// How long to wait for the service: for its response, and for each further piece of it
    #[arg(long, env = "BACKEND_TIMEOUT_SECONDS", default_value = "10")]
    #[arg(value_name = "SECONDS", value_parser = seconds)]
    pub backend_timeout: Duration,
}

pub fn run(cli: Cli) -> anyhow::Result<()> {
    let app = async { Ok(router(cli.backend_url, cli.backend_timeout)) };
    service_kit::run(PACKAGE, &cli.options, app)
}

/// The routes of the frontend. Probes, metrics and limits are added by `service-kit`.
pub fn router(backend: Uri, timeout: Duration) -> Router {
    let proxy = Proxy::new(backend, timeout);
    page::router().route("/api/{*path}", any(proxy::forward).with_state(proxy))
}

fn backend_url(text: &str) -> Result<Uri, &'static str> {
    text.parse()
        .ok()
        .filter(|url: &Uri| url.scheme() == Some(&Scheme::HTTP) && url.path() == "/")
        .filter(|url| url.query().is_none())
        .ok_or("expected http, a host and a port, for example http://127.0.0.1:8080")
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_http_and_no_path_is_a_backend() {
        for good in ["http://127.0.0.1:80", "http://service", "http://service:8080/"] {
            assert!(backend_url(good).is_ok(), "{good}");
        }
        for bad in ["", "service:8080", "https://service", "http://service/v1", "http://service/?a"]
        {
            assert!(backend_url(bad).is_err(), "{bad}");
        }
    }
}
