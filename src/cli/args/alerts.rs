//! Flags of `serve` for alerts.

use crate::cli::usage_error::{OrUsage as _, usage};
use crate::domain::SearchExpr;
use crate::store::Alert;
use anyhow::{Context as _, Result};
use clap::Args;
use std::collections::HashSet;
use std::path::PathBuf;

/// Maximum number of alerts.
const MAX_ALERTS: usize = 10_000;

/// Maximum length of an alert's name, in characters.
const MAX_NAME_CHARS: usize = 64;

#[derive(Debug, Args)]
pub(in crate::cli) struct AlertArgs {
    /// Alert once a call when a turn matches this search
    ///
    /// NAME=QUERY, with the search language of `search`, such as fire='fire OR smoke*'. May be repeated. Turns that are
    /// already stored when the first alert is configured are not compared.
    #[arg(long, env = "TRANSCRIBE_HOOK_ALERT", value_name = "NAME=QUERY", value_delimiter = '\n')]
    alert: Vec<String>,
    /// Read alerts from this file, one NAME=QUERY per line
    ///
    /// Empty lines and lines that begin with # are skipped.
    #[arg(long, env = "TRANSCRIBE_HOOK_ALERTS", value_name = "FILE")]
    alerts: Option<PathBuf>,
}

impl AlertArgs {
    /// Returns the alerts.
    ///
    /// # Errors
    /// The file cannot be read, or an alert is invalid.
    pub(in crate::cli) fn alerts(&self) -> Result<Vec<Alert>> {
        let mut alerts = Vec::new();
        for (n, text) in self.alert.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).enumerate() {
            alerts.push(parse(text).with_context(|| format!("--alert: alert {}", n + 1)).or_usage()?);
        }
        if let Some(file) = &self.alerts {
            let name = || format!("--alerts {}", file.display());
            let text = std::fs::read_to_string(file).with_context(name).or_usage()?;
            for (n, line) in text.trim_start_matches('\u{FEFF}').lines().map(str::trim).enumerate() {
                if !line.is_empty() && !line.starts_with('#') {
                    alerts.push(parse(line).with_context(|| format!("{}: line {}", name(), n + 1)).or_usage()?);
                }
            }
        }
        let mut names = HashSet::new();
        if let Some(twice) = alerts.iter().find(|alert| !names.insert(&alert.name)) {
            return Err(usage(format_args!("--alert: the name {:?} is used twice", twice.name)));
        }
        if alerts.len() > MAX_ALERTS {
            return Err(usage(format_args!("--alert: must be at most {MAX_ALERTS} alerts, got {}", alerts.len())));
        }
        Ok(alerts)
    }
}

fn parse(text: &str) -> Result<Alert> {
    let (name, query) = text.split_once('=').context("must be NAME=QUERY")?;
    let name = name.trim();
    anyhow::ensure!(
        (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control),
        "the name must be 1 to {MAX_NAME_CHARS} characters"
    );
    let wanted = SearchExpr::parse(query.trim()).with_context(|| format!("the query of {name:?}"))?;
    Ok(Alert { name: name.to_owned(), wanted })
}
