//! What every service of this workspace has in common: options, logs, probes, metrics and an
//! orderly stop. A service adds its routes and calls [`run`].

mod healthcheck;
mod metrics;
mod options;
mod routes;
mod server;
mod telemetry;

use std::{pin::Pin, process::ExitCode, time::Instant};

use axum::Router;
use clap::{Parser, error::ErrorKind};
use tokio::runtime::Runtime;

use crate::options::Command;
pub use crate::options::{LogFormat, Options};

/// What a binary calls itself. Made with `env!` in the crate of the binary.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
}

impl Package {
    /// The commit that was built, if the build was told by the environment variable `GIT_SHA`.
    /// Empty counts as unset: that is what an unset `ARG` of a Dockerfile gives.
    pub fn revision(&self) -> Option<&'static str> {
        option_env!("GIT_SHA").filter(|sha| !sha.is_empty())
    }

    /// The version, followed by the commit if it is known.
    pub fn full_version(&self) -> String {
        match self.revision() {
            Some(sha) => format!("{} ({sha})", self.version),
            None => self.version.to_owned(),
        }
    }
}

/// Parses the command line, runs the program and turns its outcome into an exit status: 0, 1 when
/// it failed, 2 when it was called wrongly.
pub fn main<C: Parser>(program: impl FnOnce(C) -> anyhow::Result<()>) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        // The value mostly comes from the environment of a container: one line for its log, without
        // the advice to try --help.
        Err(error) if error.kind() == ErrorKind::ValueValidation => {
            eprintln!("{}", error.to_string().lines().next().unwrap_or_default());
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    match program(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", C::command().get_name());
            ExitCode::FAILURE
        }
    }
}

/// Serves the routes of `app`, or does what the command line asks for instead. `app` may take its
/// time, for example to reach a database: until it is done the service is not ready.
pub fn run(
    package: Package,
    options: &Options,
    app: impl Future<Output = anyhow::Result<Router>>,
) -> anyhow::Result<()> {
    run_boxed(package, options, Box::pin(app))
}

type App<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Router>> + 'a>>;

// Not generic: the whole server is compiled in this crate, not again in each one that calls it.
fn run_boxed(package: Package, options: &Options, app: App<'_>) -> anyhow::Result<()> {
    let started = Instant::now();
    if let Some(Command::Healthcheck) = options.command {
        return healthcheck::run(options.listen_addr);
    }
    telemetry::init(&options.log_filter, options.log_format)?;
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(server::run(package, started, options, app));
    // Dropping the runtime would wait for blocking tasks, however long they take.
    runtime.shutdown_background();
    outcome
}
