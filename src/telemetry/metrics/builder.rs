//! Builds metrics from one-line descriptions.
//!
//! Names receive the prefix. Label values that are known are initialized to 0, so a rate includes the first event.

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::fmt::Write as _;

/// Prefix of all names.
const PREFIX: &str = "transcribe_hook";

pub(super) fn registry() -> Registry {
    Registry::new_custom(Some(PREFIX.to_owned()), None).expect("the prefix is a valid name")
}

pub(super) fn text(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).expect("a string takes everything")
}

/// A metric without labels or buckets.
pub(super) struct Unlabelled;

/// A metric with labels whose values are all known.
pub(super) struct Labels {
    labels: &'static [&'static str],
    values: &'static [&'static [&'static str]],
}

/// A histogram with buckets, and optionally labels.
pub(super) struct Buckets {
    buckets: &'static [f64],
    labels: &'static [&'static str],
}

pub(super) const fn unlabelled() -> Unlabelled {
    Unlabelled
}

/// Describes a metric with all combinations of `values`, which has a list for each of `labels`.
pub(super) const fn labelled(labels: &'static [&'static str], values: &'static [&'static [&'static str]]) -> Labels {
    Labels { labels, values }
}

/// Describes a histogram with these upper bounds.
pub(super) const fn histogram(buckets: &'static [f64], labels: &'static [&'static str]) -> Buckets {
    Buckets { buckets, labels }
}

impl Unlabelled {
    #[expect(clippy::unused_self, reason = "as of the others")]
    pub(super) fn labels(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Labels {
    pub(super) fn labels(&self) -> Vec<&'static str> {
        self.labels.to_vec()
    }

    fn combinations(&self) -> Vec<Vec<&'static str>> {
        self.values.iter().fold(vec![vec![]], |begun, values| {
            let longer = |begun: &Vec<&'static str>| {
                let begun = begun.clone();
                values.iter().map(move |value| begun.iter().copied().chain([*value]).collect())
            };
            begun.iter().flat_map(longer).collect()
        })
    }
}

impl Buckets {
    pub(super) fn labels(&self) -> Vec<&'static str> {
        self.labels.to_vec()
    }

    fn opts(&self, name: &str, help: &str) -> HistogramOpts {
        HistogramOpts::new(name, help).buckets(self.buckets.to_vec())
    }
}

/// A type of metric that can be built and registered.
pub(super) trait Build<Said>: Sized {
    const KIND: &'static str;
    fn build(registry: &Registry, name: &str, help: &str, said: Said) -> Self;
}

/// Panic message for an invalid description. Descriptions are constant, so the first start of the program detects it.
const VALID: &str = "the metric is well-formed and its name is used once";

pub(super) fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    let metric = metric.expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

macro_rules! build_unlabelled {
    ($($kind:ident $word:literal;)+) => { $(
        impl Build<Unlabelled> for $kind {
            const KIND: &'static str = $word;
            fn build(registry: &Registry, name: &str, help: &str, _: Unlabelled) -> Self {
                registered(registry, $kind::new(name, help))
            }
        }
    )+ };
}

build_unlabelled! {
    IntCounter "counter";
    IntGauge "gauge";
    Gauge "gauge";
}

macro_rules! build_labelled {
    ($($kind:ident $word:literal;)+) => { $(
        impl Build<Labels> for $kind {
            const KIND: &'static str = $word;
            fn build(registry: &Registry, name: &str, help: &str, by: Labels) -> Self {
                let metric = registered(registry, $kind::new(Opts::new(name, help), by.labels));
                for values in by.combinations() {
                    metric.with_label_values(&values);
                }
                metric
            }
        }
    )+ };
}

build_labelled! {
    IntCounterVec "counter";
    IntGaugeVec "gauge";
}

impl Build<Buckets> for Histogram {
    const KIND: &'static str = "histogram";
    fn build(registry: &Registry, name: &str, help: &str, spread: Buckets) -> Self {
        registered(registry, Self::with_opts(spread.opts(name, help)))
    }
}

impl Build<Buckets> for HistogramVec {
    const KIND: &'static str = "histogram";
    fn build(registry: &Registry, name: &str, help: &str, spread: Buckets) -> Self {
        registered(registry, Self::new(spread.opts(name, help), spread.labels))
    }
}

/// Returns a Markdown table with a row per (name, kind, labels, meaning).
pub(super) fn table(described: &[(&str, &str, Vec<&str>, &str)]) -> String {
    let mut table = String::from("| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n");
    for (name, kind, labels, meaning) in described {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        writeln!(table, "| `{PREFIX}_{name}` | {kind} | {labels} | {meaning} |").expect("a string takes everything");
    }
    table
}
