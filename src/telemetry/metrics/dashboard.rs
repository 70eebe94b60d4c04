//! Generates a Grafana dashboard of the metrics, as JSON for Grafana's import.
//!
//! Each row of graphs answers one question: traffic, latency, saturation, space, housekeeping. A test checks that every
//! queried metric exists. A variable selects the instances.

use Unit::{Bytes, Number, PerSecond, Seconds};
use serde_json::{Value, json};

/// Returns the dashboard as JSON.
pub fn json() -> String {
    let dashboard = json!({
        "__inputs": [{
            "name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus",
            "pluginName": "Prometheus", "description": "",
        }],
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "9.0.0"},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
            {"type": "panel", "id": "timeseries", "name": "Time series", "version": ""},
        ],
        "uid": "transcribe-hook",
        "title": "transcribe-hook",
        "description": "Received and stored calls and turns, latency, and free space.",
        "tags": ["transcribe-hook"],
        "schemaVersion": 36,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [{
            "name": "instance", "label": "Instance", "type": "query", "datasource": source(),
            "query": {"query": "label_values(transcribe_hook_build_info, instance)", "refId": "instances"},
            "definition": "label_values(transcribe_hook_build_info, instance)",
            "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }]},
        "panels": panels(),
    });
    serde_json::to_string_pretty(&dashboard).expect("a JSON value can be serialized")
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${DS_PROMETHEUS}"})
}

/// Returns all rows with their graphs, three side by side.
fn panels() -> Vec<Value> {
    const WIDTH: usize = 8;
    const HEIGHT: usize = 8;
    let mut panels = Vec::new();
    for (row, (title, graphs)) in rows().into_iter().enumerate() {
        let top = row * (HEIGHT + 1);
        panels.push(json!({
            "id": panels.len() + 1, "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": 3 * WIDTH, "h": 1},
        }));
        for (column, graph) in graphs.into_iter().enumerate() {
            let place = json!({"x": column * WIDTH, "y": top + 1, "w": WIDTH, "h": HEIGHT});
            panels.push(graph.panel(panels.len() + 1, &place));
        }
    }
    panels
}

/// The unit of a graph's axis.
#[derive(Clone, Copy)]
enum Unit {
    PerSecond,
    Seconds,
    Bytes,
    Number,
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::PerSecond => "cps",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::Number => "short",
        }
    }
}

struct Graph {
    title: &'static str,
    meaning: &'static str,
    unit: Unit,
    /// Queries, each with its legend.
    curves: Vec<(&'static str, String)>,
}

impl Graph {
    fn panel(self, id: usize, place: &Value) -> Value {
        let target = |(n, (legend, query)): (usize, (&str, String))| {
            json!({
                "refId": format!("Q{n}"), "datasource": source(), "expr": query, "legendFormat": legend,
                "editorMode": "code", "range": true,
            })
        };
        json!({
            "id": id, "type": "timeseries", "title": self.title, "description": self.meaning, "datasource": source(),
            "gridPos": place,
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit.word(), "min": 0,
                    "custom": {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false},
                },
                "overrides": [],
            },
            "options": {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
            "targets": self.curves.into_iter().enumerate().map(target).collect::<Vec<_>>(),
        })
    }
}

fn rows() -> [(&'static str, Vec<Graph>); 5] {
    [
        ("Traffic", traffic()),
        ("Latency", latency()),
        ("Saturation", saturation()),
        ("Space", space()),
        ("Housekeeping", housekeeping()),
    ]
}

fn graph(title: &'static str, meaning: &'static str, unit: Unit, curves: Vec<(&'static str, String)>) -> Graph {
    Graph { title, meaning, unit, curves }
}

fn traffic() -> Vec<Graph> {
    vec![
        graph(
            "Turns stored",
            "By speaker, without duplicates.",
            PerSecond,
            vec![("{{speaker}}", sum_by("speaker", &rate("turns_stored_total", "")))],
        ),
        graph(
            "Deliveries by outcome",
            "Investigate outcomes other than stored and duplicate.",
            PerSecond,
            vec![(
                "{{endpoint}} {{outcome}}",
                above_zero(&sum_by("endpoint, outcome", &rate("webhook_requests_total", ""))),
            )],
        ),
        graph(
            "Calls in progress",
            "Calls without activity are ended after --stale-after.",
            Number,
            vec![("in progress", sum("calls_open")), ("live viewers", sum("sse_subscribers"))],
        ),
    ]
}

fn latency() -> Vec<Graph> {
    let stored_turn = "route=\"/webhooks/elevenlabs/transcription\",status=\"201\"";
    vec![
        graph(
            "Time to store a turn",
            "From request to response, for stored turns.",
            Seconds,
            vec![
                ("median", quantile(0.5, "http_request_duration_seconds", stored_turn)),
                ("p99", quantile(0.99, "http_request_duration_seconds", stored_turn)),
            ],
        ),
        graph(
            "Slowest routes",
            "p99 of the five slowest routes.",
            Seconds,
            vec![("{{method}} {{route}}", slowest_routes())],
        ),
        graph(
            "Failed requests",
            "5xx are errors of the service, 4xx of its clients; 499 are clients that disconnected.",
            PerSecond,
            vec![(
                "{{status}} {{route}}",
                above_zero(&sum_by(
                    "status, route",
                    &rate("http_request_duration_seconds_count", "status=~\"[45]..\""),
                )),
            )],
        ),
    ]
}

fn saturation() -> Vec<Graph> {
    vec![
        graph(
            "Commit duration",
            "Mostly disk time; all turns of a batch wait for it.",
            Seconds,
            vec![
                ("median", quantile(0.5, "commit_duration_seconds", "")),
                ("p99", quantile(0.99, "commit_duration_seconds", "")),
                ("checkpoint p99", quantile(0.99, "checkpoint_duration_seconds", "")),
            ],
        ),
        graph(
            "Write queue",
            "Waiting writes, and writes per commit. Writes beyond --queue-capacity are answered 503.",
            Number,
            vec![("waiting", sum("write_queue_depth")), ("per commit", writes_per_commit())],
        ),
        graph(
            "Ingest lag",
            "From a turn's timestamp until it is stored.",
            Seconds,
            vec![
                ("median", quantile(0.5, "ingest_lag_seconds", "")),
                ("p99", quantile(0.99, "ingest_lag_seconds", "")),
            ],
        ),
    ]
}

fn space() -> Vec<Graph> {
    vec![
        graph(
            "Files",
            "The WAL is emptied after some idle seconds. If it only grows, a long read transaction blocks it.",
            Bytes,
            vec![("database", sum("db_size_bytes")), ("WAL", sum("wal_size_bytes"))],
        ),
        graph("Free disk", "File system of the database.", Bytes, vec![("free", sum("disk_free_bytes"))]),
        graph(
            "Memory",
            "Resident memory of the process.",
            Bytes,
            vec![("{{instance}}", format!("process_resident_memory_bytes{{{}}}", chosen("")))],
        ),
    ]
}

fn housekeeping() -> Vec<Graph> {
    vec![
        graph(
            "Age of the last backup",
            "Automatic backups of the service.",
            Seconds,
            vec![("age", format!("time() - ({} > 0)", series("backup_last_success_timestamp_seconds", "")))],
        ),
        graph(
            "Erased, redacted, recordings",
            "In the displayed time range.",
            Number,
            vec![
                ("expired turns erased", format!("sum({})", increase("pruned_turns_total"))),
                ("{{kind}} redacted", sum_by("kind", &increase("redactions_total"))),
                ("recordings {{outcome}}", sum_by("outcome", &increase("recordings_total"))),
            ],
        ),
        graph(
            "Failures",
            "In the displayed time range. Should be zero.",
            Number,
            vec![
                ("failed backups", format!("sum({})", increase("backup_failures_total"))),
                ("failed checkpoints", format!("sum({})", increase("checkpoint_failures_total"))),
            ],
        ),
    ]
}

/// Returns the selector of the chosen instances, with further labels.
fn chosen(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!("instance=~\"$instance\"{comma}{more}")
}

fn series(name: &str, labels: &str) -> String {
    format!("transcribe_hook_{name}{{{}}}", chosen(labels))
}

fn rate(name: &str, labels: &str) -> String {
    format!("rate({}[$__rate_interval])", series(name, labels))
}

fn increase(name: &str) -> String {
    format!("increase({}[$__range])", series(name, ""))
}

fn sum(name: &str) -> String {
    format!("sum({})", series(name, ""))
}

fn sum_by(labels: &str, query: &str) -> String {
    format!("sum by ({labels}) ({query})")
}

fn above_zero(query: &str) -> String {
    format!("{query} > 0")
}

fn quantile(share: f64, name: &str, labels: &str) -> String {
    format!("histogram_quantile({share}, {})", sum_by("le", &rate(&format!("{name}_bucket"), labels)))
}

fn slowest_routes() -> String {
    let by_route = sum_by("le, method, route", &rate("http_request_duration_seconds_bucket", ""));
    format!("topk(5, histogram_quantile(0.99, {by_route}))")
}

fn writes_per_commit() -> String {
    let [sum, count] = ["sum", "count"].map(|what| rate(&format!("write_batch_size_{what}"), ""));
    format!("sum({sum}) / sum({count})")
}
