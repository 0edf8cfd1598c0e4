//! Logs: to standard error, as text or one JSON object a line.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt,
};

use crate::LogFormat;

/// Installs the process-wide subscriber.
pub(crate) fn init(filter: &Targets, format: LogFormat) -> anyhow::Result<()> {
    let lines = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    registry().with(lines.with_filter(filter.clone())).try_init()?;
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}
