//! Builds and registers metrics, and describes them.
//!
//! Adds the prefix to names. Initializes each known combination of label values to 0, so that a rate includes the first
//! event.

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::fmt::Write as _;

/// Prefix of all names.
const PREFIX: &str = "transcribe_hook";

/// A label with all its values.
pub(super) type Label = (&'static str, &'static [&'static str]);

/// A metric in the table.
struct Description {
    name: &'static str,
    kind: &'static str,
    labels: Vec<&'static str>,
    help: &'static str,
}

/// The registered metrics, in the order of their registration.
pub(super) struct MetricSet {
    registry: Registry,
    described: Vec<Description>,
}

impl MetricSet {
    pub(super) fn new() -> Self {
        let registry = Registry::new_custom(Some(PREFIX.to_owned()), None).expect("the prefix is a valid name");
        Self { registry, described: Vec::new() }
    }

    fn add<M: Collector + Clone + 'static>(&mut self, metric: prometheus::Result<M>, described: Description) -> M {
        self.described.push(described);
        registered(&self.registry, metric)
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> IntCounter {
        self.add(IntCounter::new(name, help), Description { name, kind: "counter", labels: Vec::new(), help })
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        self.add(IntGauge::new(name, help), Description { name, kind: "gauge", labels: Vec::new(), help })
    }

    pub(super) fn float_gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.add(Gauge::new(name, help), Description { name, kind: "gauge", labels: Vec::new(), help })
    }

    /// Adds a counter with labels, and initializes all combinations of their values.
    pub(super) fn counter_by(&mut self, name: &'static str, help: &'static str, by: &[Label]) -> IntCounterVec {
        let labels = names(by);
        let metric = IntCounterVec::new(Opts::new(name, help), &labels);
        let metric = self.add(metric, Description { name, kind: "counter", labels, help });
        for values in combinations(by) {
            metric.with_label_values(&values);
        }
        metric
    }

    /// Adds a gauge with labels, and initializes all combinations of their values.
    pub(super) fn gauge_by(&mut self, name: &'static str, help: &'static str, by: &[Label]) -> IntGaugeVec {
        let labels = names(by);
        let metric = IntGaugeVec::new(Opts::new(name, help), &labels);
        let metric = self.add(metric, Description { name, kind: "gauge", labels, help });
        for values in combinations(by) {
            metric.with_label_values(&values);
        }
        metric
    }

    /// Adds a histogram with these upper bounds.
    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str, bounds: &[f64]) -> Histogram {
        let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()));
        self.add(metric, Description { name, kind: "histogram", labels: Vec::new(), help })
    }

    /// Adds a histogram with these upper bounds, and labels with values that are not known yet.
    pub(super) fn histogram_by(
        &mut self,
        name: &'static str,
        help: &'static str,
        bounds: &[f64],
        labels: &[&'static str],
    ) -> HistogramVec {
        let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels);
        self.add(metric, Description { name, kind: "histogram", labels: labels.to_vec(), help })
    }

    pub(super) fn text(&self) -> String {
        text(&self.registry)
    }

    /// Returns the metrics as a Markdown table.
    pub(super) fn table(&self) -> String {
        let mut table = String::from("| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n");
        for Description { name, kind, labels, help } in &self.described {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            writeln!(table, "| `{PREFIX}_{name}` | {kind} | {labels} | {help} |")
                .expect("writing to a String cannot fail");
        }
        table
    }
}

fn names(by: &[Label]) -> Vec<&'static str> {
    by.iter().map(|(name, _)| *name).collect()
}

fn combinations(by: &[Label]) -> Vec<Vec<&'static str>> {
    by.iter().fold(vec![vec![]], |begun, (_, values)| {
        let longer = |begun: &Vec<&'static str>| {
            let begun = begun.clone();
            values.iter().map(move |value| begun.iter().copied().chain([*value]).collect())
        };
        begun.iter().flat_map(longer).collect()
    })
}

/// Panic message for an invalid description. Descriptions are constant, so the first start of the program detects it.
const VALID: &str = "the metric is well-formed and its name is used once";

pub(super) fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    let metric = metric.expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

pub(super) fn text(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).expect("writing to a String cannot fail")
}
