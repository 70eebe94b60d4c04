//! Log lines as JSON.

use crate::domain::Timestamp;
use serde::ser::{SerializeMap, Serializer as _};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// A visitor that writes an event's fields into a JSON object. Writing to memory cannot fail, so results are ignored.
pub(super) struct JsonVisitor<'a, M>(pub(super) &'a mut M);

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
pub(super) struct Json;

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
