//! A dashboard for Grafana over these metrics, as the JSON that its import takes.
//!
//! One row a question: what comes, how fast is it, does it keep up, is there room, is the housekeeping done. It asks only
//! for metrics that there are (a test sees to it), of the instances that are chosen above the graphs.

use Unit::{Bytes, Number, PerSecond, Seconds};
use serde_json::{Value, json};

/// The dashboard.
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
        "description": "Calls and turns that are received and stored, how fast, and whether there is room.",
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
    serde_json::to_string_pretty(&dashboard).expect("a value becomes text")
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${DS_PROMETHEUS}"})
}

/// All rows with their graphs, three beside each other.
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

/// What is measured along a graph's side, in Grafana's words.
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
    /// Each with the name that is shown.
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
        ("What comes", what_comes()),
        ("How fast it is", speed()),
        ("Does it keep up?", keeping_up()),
        ("Is there room?", room()),
        ("Housekeeping", housekeeping()),
    ]
}

fn graph(title: &'static str, meaning: &'static str, unit: Unit, curves: Vec<(&'static str, String)>) -> Graph {
    Graph { title, meaning, unit, curves }
}

fn what_comes() -> Vec<Graph> {
    vec![
        graph(
            "Turns stored",
            "By who spoke; repeats not counted.",
            PerSecond,
            vec![("{{speaker}}", sum_by("speaker", &rate("turns_stored_total", "")))],
        ),
        graph(
            "Deliveries by what became of them",
            "Investigate outcomes other than stored and duplicate.",
            PerSecond,
            vec![(
                "{{endpoint}} {{outcome}}",
                above_zero(&sum_by("endpoint, outcome", &rate("webhook_requests_total", ""))),
            )],
        ),
        graph(
            "Calls in progress",
            "Calls of which nothing comes are ended after a while.",
            Number,
            vec![("in progress", sum("calls_open")), ("live viewers", sum("sse_subscribers"))],
        ),
    ]
}

fn speed() -> Vec<Graph> {
    let stored_turn = "route=\"/webhooks/elevenlabs/transcription\",status=\"201\"";
    vec![
        graph(
            "Time to store a turn",
            "From the request to the answer, of turns that are stored then.",
            Seconds,
            vec![
                ("median", quantile(0.5, "http_request_duration_seconds", stored_turn)),
                ("99 of 100", quantile(0.99, "http_request_duration_seconds", stored_turn)),
            ],
        ),
        graph(
            "Slowest routes",
            "99 of 100 requests are answered in less.",
            Seconds,
            vec![("{{method}} {{route}}", slowest_routes())],
        ),
        graph(
            "Requests that failed",
            "5xx are the service's, 4xx its clients', 499 are clients that went away.",
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

fn keeping_up() -> Vec<Graph> {
    vec![
        graph(
            "Time of a commit",
            "Mostly the disk's; all turns of a batch wait for it.",
            Seconds,
            vec![
                ("median", quantile(0.5, "commit_duration_seconds", "")),
                ("99 of 100", quantile(0.99, "commit_duration_seconds", "")),
                ("checkpoint, 99 of 100", quantile(0.99, "checkpoint_duration_seconds", "")),
            ],
        ),
        graph(
            "The write queue",
            "What waits, and how many share a commit. What is beyond --queue-capacity is answered 503.",
            Number,
            vec![("waiting", sum("write_queue_depth")), ("in a commit", in_a_commit())],
        ),
        graph(
            "How late turns come",
            "From being said to being stored.",
            Seconds,
            vec![
                ("median", quantile(0.5, "ingest_lag_seconds", "")),
                ("99 of 100", quantile(0.99, "ingest_lag_seconds", "")),
            ],
        ),
    ]
}

fn room() -> Vec<Graph> {
    vec![
        graph(
            "Files",
            "The log is emptied when nothing comes for some seconds; one that only grows is held by a reader.",
            Bytes,
            vec![("database", sum("db_size_bytes")), ("log", sum("wal_size_bytes"))],
        ),
        graph("Free disk", "Of the file system with the database.", Bytes, vec![("free", sum("disk_free_bytes"))]),
        graph(
            "Memory",
            "That the process holds.",
            Bytes,
            vec![("{{instance}}", format!("process_resident_memory_bytes{{{}}}", chosen("")))],
        ),
    ]
}

fn housekeeping() -> Vec<Graph> {
    vec![
        graph(
            "Age of the last backup",
            "Of those that the service makes by itself.",
            Seconds,
            vec![("age", format!("time() - ({} > 0)", series("backup_last_success_timestamp_seconds", "")))],
        ),
        graph(
            "Erased, redacted, recordings",
            "In the time that is shown.",
            Number,
            vec![
                ("turns erased for their age", format!("sum({})", increase("pruned_turns_total"))),
                ("{{kind}} redacted", sum_by("kind", &increase("redactions_total"))),
                ("recordings {{outcome}}", sum_by("outcome", &increase("recordings_total"))),
            ],
        ),
        graph(
            "What should be zero",
            "In the time that is shown.",
            Number,
            vec![
                ("backups that failed", format!("sum({})", increase("backup_failures_total"))),
                ("checkpoints that failed", format!("sum({})", increase("checkpoint_failures_total"))),
            ],
        ),
    ]
}

/// The labels that choose the instances, and more.
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

fn in_a_commit() -> String {
    let [sum, count] = ["sum", "count"].map(|what| rate(&format!("write_batch_size_{what}"), ""));
    format!("sum({sum}) / sum({count})")
}
