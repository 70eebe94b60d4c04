//! A scrape of `/metrics`, and the judge of Prometheus.

use crate::support::service::Service;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

/// All samples of a scrape, by name and labels as they stand there.
pub struct Scrape(pub BTreeMap<String, String>);

impl Scrape {
    pub fn of(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} is no sample"));
            (series.to_owned(), value.to_owned())
        });
        Self(samples.collect())
    }

    pub fn take(service: &Service) -> Self {
        Self::of(&service.get("/metrics").expect(200).text)
    }

    /// A sample by its name without the prefix, with its labels.
    #[track_caller]
    pub fn get<N: FromStr>(&self, series: &str) -> N {
        let value = self.0.get(&format!("transcribe_hook_{series}")).unwrap_or_else(|| panic!("there is no {series}"));
        value.parse().unwrap_or_else(|_| panic!("{series} is {value}"))
    }

    #[track_caller]
    pub fn whole(&self, series: &str) -> u64 {
        self.get(series)
    }

    /// Returns the number of a webhook's requests with this outcome.
    #[track_caller]
    pub fn webhook(&self, endpoint: &str, outcome: &str) -> u64 {
        self.whole(&format!("webhook_requests_total{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}"))
    }

    /// All outcomes of a webhook that happened.
    pub fn outcomes(&self, endpoint: &str) -> BTreeMap<&str, u64> {
        let start = format!("transcribe_hook_webhook_requests_total{{endpoint=\"{endpoint}\",outcome=\"");
        self.0
            .iter()
            .filter_map(|(series, value)| {
                Some((series.strip_prefix(&start)?.strip_suffix("\"}")?, value.parse().unwrap()))
            })
            .filter(|(_, value)| *value > 0)
            .collect()
    }
}

/// Prometheus's own judge, which `tests/run` puts there.
pub fn promtool() -> Command {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    if own.exists() { Command::new(own) } else { Command::new("promtool") }
}
