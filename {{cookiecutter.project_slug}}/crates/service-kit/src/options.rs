//! The command line that all services share: every option has an environment variable.

use std::{net::SocketAddr, num::ParseIntError, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use tracing_subscriber::filter::Targets;

#[derive(Clone, Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Address and port to listen on, or to check
    #[arg(long, env, global = true, default_value = "0.0.0.0:8080", value_parser = address)]
    pub listen_addr: SocketAddr,

    /// What to log, for example "info" or "warn,service=debug"
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log_filter: Targets,

    /// How to write log lines
    #[arg(long, env, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Largest request body to accept
    #[arg(long, env, default_value_t = 1024 * 1024, value_name = "BYTES")]
    pub max_body_bytes: usize,

    /// How long a request may take until its response begins
    #[arg(long, env = "REQUEST_TIMEOUT_SECONDS", default_value = "30")]
    #[arg(value_name = "SECONDS", value_parser = seconds)]
    pub request_timeout: Duration,

    /// How long to keep serving after SIGTERM, not ready, so that load balancers notice
    #[arg(long, env = "DRAIN_SECONDS", default_value = "0")]
    #[arg(value_name = "SECONDS", value_parser = seconds)]
    pub drain: Duration,

    /// How long open requests may then take to finish
    #[arg(long, env = "GRACE_SECONDS", default_value = "10")]
    #[arg(value_name = "SECONDS", value_parser = seconds)]
    pub grace: Duration,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask the running instance whether it is ready: exit status 0 if so, 1 if not
    Healthcheck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, for example 0.0.0.0:8080")
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn parse(args: &[&str]) -> Result<Options, clap::Error> {
        Cli::try_parse_from([&["test"], args].concat()).map(|cli| cli.options)
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_typed() {
        let options = parse(&["--listen-addr", "[::1]:80", "--drain", "3"]).unwrap();
        assert_eq!(options.listen_addr, "[::1]:80".parse().unwrap());
        assert_eq!(options.drain, Duration::from_secs(3));
    }

    #[test]
    fn the_address_may_follow_the_command() {
        let options = parse(&["healthcheck", "--listen-addr", "127.0.0.1:81"]).unwrap();
        assert_eq!(options.listen_addr.port(), 81);
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        for (option, value) in [
            ("--listen-addr", "localhost"),
            ("--log-filter", "a=b=c"),
            ("--log-format", "xml"),
            ("--max-body-bytes", "-1"),
            ("--grace", "soon"),
        ] {
            let error = parse(&[&format!("{option}={value}")]).unwrap_err().to_string();
            assert!(error.contains(option) && error.contains(value), "{error}");
        }
    }
}
