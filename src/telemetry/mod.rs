//! Logs: one line per event on standard error, as text, as JSON, or as JSON for Google Cloud Logging.
//!
//! A message can be understood without its fields, and everything it names is also a field. Field names include their
//! unit. No event of any level contains words of a call.

mod log_writer;
pub mod metrics;

pub use log_writer::FlushGuard;

use crate::domain::Timestamp;
use crate::sys::terminal::sanitize_for_terminal;
use log_writer::LogBuffer;
use serde::ser::{SerializeMap, Serializer as _};
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer as _, fmt as text};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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
            let layer = layer.with_ansi(std::env::var_os("NO_COLOR").is_none()).fmt_fields(shown());
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
fn shown() -> impl for<'a> FormatFields<'a> + 'static {
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

/// A visitor that writes an event's fields into a JSON object. Writing to memory cannot fail, so results are ignored.
struct JsonVisitor<'a, M>(&'a mut M);

impl<M: SerializeMap> JsonVisitor<'_, M> {
    fn put(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        let _ = self.0.serialize_entry(field.name(), value);
    }
}

impl<M: SerializeMap> Visit for JsonVisitor<'_, M> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value);
    }
}

/// The JSON format: `time`, `level` and `target`, followed by the event's own fields, including `message`.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // Serialized while visiting, for speed: this runs for each request.
        let mut line = Vec::with_capacity(512);
        json_line(&mut line, event).map_err(|_| fmt::Error)?;
        writeln!(out, "{}", std::str::from_utf8(&line).map_err(|_| fmt::Error)?)
    }
}

fn json_line(line: &mut Vec<u8>, event: &Event<'_>) -> serde_json::Result<()> {
    let mut serializer = serde_json::Serializer::new(line);
    let mut object = serializer.serialize_map(None)?;
    let level = match *event.metadata().level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    object.serialize_entry("time", &Timestamp::now().to_string())?;
    object.serialize_entry("level", level)?;
    object.serialize_entry("target", event.metadata().target())?;
    event.record(&mut JsonVisitor(&mut object));
    object.end()
}

/// The format of Google Cloud Logging: `severity`, `time`, `message`, `httpRequest`, and the identifiers as labels
/// (<https://cloud.google.com/logging/docs/structured-logging>).
struct CloudLogging;

impl<S, N> FormatEvent<S, N> for CloudLogging
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writeln!(out, "{}", cloud_entry(event).map_err(|_| fmt::Error)?)
    }
}

fn cloud_entry(event: &Event<'_>) -> serde_json::Result<Value> {
    let mut fields = serde_json::value::Serializer.serialize_map(None)?;
    event.record(&mut JsonVisitor(&mut fields));
    let Value::Object(mut fields) = fields.end()? else { unreachable!("a map is serialized as an object") };
    let severity = match *event.metadata().level() {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    };
    let mut entry = Map::new();
    entry.insert("severity".to_owned(), severity.into());
    entry.insert("time".to_owned(), Timestamp::now().to_string().into());
    entry.insert("target".to_owned(), event.metadata().target().into());
    let labels: Map<String, Value> =
        ["request_id", "conversation_id"].into_iter().filter_map(|name| fields.remove_entry(name)).collect();
    if !labels.is_empty() {
        entry.insert("logging.googleapis.com/labels".to_owned(), Value::Object(labels));
    }
    if event.metadata().target() == "http" {
        let latency = fields.remove("duration_ms").and_then(|ms| ms.as_f64()).unwrap_or_default() / 1000.0;
        let request = json!({
            "requestMethod": fields.remove("method"),
            "requestUrl": fields.remove("route"),
            "status": fields.remove("status"),
            "latency": format!("{latency:.6}s"),
        });
        entry.insert("httpRequest".to_owned(), request);
    }
    entry.append(&mut fields);
    Ok(Value::Object(entry))
}
