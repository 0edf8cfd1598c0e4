//! The service: its command line and its routes.

use axum::{Router, routing::get};
use clap::Parser;
use service_kit::{Options, Package};

const PACKAGE: Package =
    Package { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

#[derive(Debug, Parser)]
#[command(version = PACKAGE.full_version(), about)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
}

pub fn run(cli: Cli) -> anyhow::Result<()> {
    service_kit::run(PACKAGE, &cli.options, async { Ok(router()) })
}

/// The routes of this service. Probes, metrics and limits are added by `service-kit`.
pub fn router() -> Router {
    Router::new().route("/", get(index))
}

async fn index() -> String {
    format!("{} {}\n", PACKAGE.name, PACKAGE.full_version())
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Request, StatusCode},
    };
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_index_tells_name_and_version() {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        assert!(body.starts_with(env!("CARGO_PKG_NAME").as_bytes()));
    }
}
