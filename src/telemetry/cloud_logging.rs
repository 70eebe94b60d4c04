//! Log lines as JSON for Google Cloud Logging.

use super::json::JsonVisitor;
use crate::domain::Timestamp;
use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::{Map, Value, json};
use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format of Google Cloud Logging: `severity`, `time`, `message`, `httpRequest`, and the identifiers as labels
/// (<https://cloud.google.com/logging/docs/structured-logging>).
pub(super) struct CloudLogging;

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
