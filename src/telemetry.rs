//! Logs: events on standard error, one line each, for a person, for a JSON reader, or for Google Cloud Logging.
//!
//! A message reads alone; what it names is a field too. Fields have their unit in their name. What was said in a call is
//! in no event of any level.

use crate::model::Timestamp;
use serde_json::{Map, Value, json};
use std::fmt;
use std::panic::PanicHookInfo;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer as _, fmt as text};

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
    /// JSON with the fields that Google Cloud Logging knows.
    Cloud,
}

/// Starts logging and sees to it that panics are logged.
///
/// # Errors
/// Logging was started before.
pub fn start(format: Format, filter: Targets) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    let registry = tracing_subscriber::registry();
    let lines = text::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            tracing::subscriber::set_global_default(registry.with(lines.with_ansi(ansi).with_filter(filter)))?;
        }
        Format::Json => {
            tracing::subscriber::set_global_default(registry.with(lines.event_format(Json).with_filter(filter)))?;
        }
        Format::Cloud => {
            tracing::subscriber::set_global_default(registry.with(lines.event_format(Cloud).with_filter(filter)))?;
        }
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A formatted panic message may hold a piece of a transcript (slicing a string does that), so only a fixed one is
/// repeated.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("?").to_owned();
    tracing::error!(place, thread, "panic: {message}");
}

/// An event's fields as JSON.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

/// `time`, `level`, `target`, `message`, and the event's own fields beside them.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Fields(mut line) = Fields::of(event);
        line.insert("time".to_owned(), Timestamp::now().to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().to_lowercase().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        writeln!(out, "{}", Value::Object(line))
    }
}

/// The structured payload of Google Cloud Logging: `severity`, `time`, `message`, `httpRequest`, and the identifiers as
/// labels (<https://cloud.google.com/logging/docs/structured-logging>).
struct Cloud;

impl<S, N> FormatEvent<S, N> for Cloud
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Fields(mut line) = Fields::of(event);
        let severity = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let labels: Map<String, Value> =
            ["request_id", "conversation_id"].into_iter().filter_map(|name| line.remove_entry(name)).collect();
        if !labels.is_empty() {
            line.insert("logging.googleapis.com/labels".to_owned(), Value::Object(labels));
        }
        if event.metadata().target() == "http" {
            let latency = line.remove("duration_ms").and_then(|ms| ms.as_f64()).unwrap_or_default() / 1000.0;
            let request = json!({
                "requestMethod": line.remove("method"),
                "requestUrl": line.remove("route"),
                "status": line.remove("status"),
                "latency": format!("{latency:.6}s"),
            });
            line.insert("httpRequest".to_owned(), request);
        }
        line.insert("severity".to_owned(), severity.into());
        line.insert("time".to_owned(), Timestamp::now().to_string().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        writeln!(out, "{}", Value::Object(line))
    }
}
