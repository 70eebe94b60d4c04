//! The start of logging, and its text format.

use super::cloud_logging::CloudLogging;
use super::json::Json;
use super::log_writer::{FlushGuard, LogBuffer};
use crate::sys::terminal::sanitize_for_terminal;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt as text};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
    /// JSON with the special fields of Google Cloud Logging.
    Cloud,
}

/// Starts logging, including a log line for panics. Dropping the returned guard writes the last lines.
///
/// # Errors
/// No thread could be started, or logging was already started.
pub fn start(format: LogFormat, filter: Targets) -> io::Result<FlushGuard> {
    let lines = LogBuffer::default();
    let flush = lines.start()?;
    let layer = text::layer().with_writer(lines);
    let registry = tracing_subscriber::registry();
    match format {
        LogFormat::Text if io::stderr().is_terminal() => {
            let layer = layer.with_ansi(std::env::var_os("NO_COLOR").is_none()).fmt_fields(terminal_fields());
            tracing::subscriber::set_global_default(registry.with(layer.with_filter(filter)))
        }
        LogFormat::Text => {
            tracing::subscriber::set_global_default(registry.with(layer.with_ansi(false).with_filter(filter)))
        }
        LogFormat::Json => {
            tracing::subscriber::set_global_default(registry.with(layer.event_format(Json).with_filter(filter)))
        }
        LogFormat::Cloud => {
            tracing::subscriber::set_global_default(registry.with(layer.event_format(CloudLogging).with_filter(filter)))
        }
    }
    .map_err(io::Error::other)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(flush)
}

/// Formats fields for a terminal: characters that a terminal interprets are replaced.
fn terminal_fields() -> impl for<'a> FormatFields<'a> + 'static {
    debug_fn(|out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = sanitize_for_terminal(&format!("{value:?}"));
        if field.name() == "message" { write!(out, "{value}") } else { write!(out, "{}={value}", field.name()) }
    })
    .delimited(" ")
}

/// Logs a panic. Only a constant message is included, because a formatted one may contain a piece of a transcript (as
/// slicing a string does).
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("?").to_owned();
    tracing::error!(place, thread, "panic: {message}");
}
