//! Checks ElevenLabs' settings each hour while the service runs, and whether records of ended calls arrive. What is
//! wrong is logged once, counted in the metrics, and shown by the API and the page.

use super::diagnosis::{Wanted, diagnose, diagnose_clock};
use crate::domain::{CallStatus, Channel, Timestamp};
use crate::elevenlabs::client::{Client, ClientError};
use crate::elevenlabs::workspace::Workspace;
use crate::jobs::interval_thread::IntervalThread;
use crate::store::{self, CallFilter, CallPageRequest, SortOrder, Store};
use crate::telemetry::findings::{CheckFindings, ELEVENLABS_CHECK, Finding, Severity};
use crate::telemetry::metrics::METRICS;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Interval of the checks.
const INTERVAL: Duration = Duration::from_hours(1);

/// Minimum time since the end of a call after which its record is missing, in microseconds.
const RECORD_DELAY_MICROS: i64 = 3600 * 1_000_000;

/// Maximum age of a call whose missing record is reported, in microseconds.
const WATCHED_MICROS: i64 = 24 * RECORD_DELAY_MICROS;

/// Maximum number of calls that one check reads.
const MAX_CALLS: usize = 200;

/// Minimum number of calls without a record that is reported as a problem.
const PROBLEM_CALLS: usize = 3;

/// Starts to check, immediately and then each hour.
///
/// # Errors
/// The operating system could not create the thread.
pub fn start(client: Client, store: &Arc<dyn Store>, audio: bool) -> io::Result<IntervalThread> {
    let store = Arc::downgrade(store);
    let mut known: Vec<Finding> = Vec::new();
    IntervalThread::start("elevenlabs-check", Duration::ZERO, move || {
        // The store is gone when the service stops.
        if let Some(store) = store.upgrade() {
            let findings = check(&client, &*store, audio);
            for finding in findings.iter().filter(|finding| is_news(finding, &known)) {
                let Finding { check, severity, text, remedy, agent_id } = finding;
                tracing::warn!(check, severity = severity.as_str(), agent_id, remedy, "ElevenLabs' settings: {text}");
            }
            publish(&findings);
            known = findings;
        }
        INTERVAL
    })
}

/// Returns whether a finding reports a fault that the previous check did not find. Texts are not compared, because they
/// contain numbers and ages.
fn is_news(finding: &Finding, known: &[Finding]) -> bool {
    let key = |finding: &Finding| (finding.check, finding.severity, finding.remedy.clone(), finding.agent_id.clone());
    finding.severity != Severity::Ok && !known.iter().any(|known| key(known) == key(finding))
}

fn publish(findings: &[Finding]) {
    for severity in [Severity::Warning, Severity::Problem] {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        let gauge = METRICS.elevenlabs_findings.with_label_values(&[severity.as_str()]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    let at_micros = Timestamp::now().unix_micros();
    *ELEVENLABS_CHECK.lock() = Some(CheckFindings { at_micros, findings: findings.to_vec() });
}

/// Returns what is found now.
fn check(client: &Client, store: &dyn Store, audio: bool) -> Vec<Finding> {
    let now = Timestamp::now().unix_micros();
    let mut findings = match Workspace::read(client) {
        Ok(workspace) => {
            let wanted = Wanted { public_url: None, audio, now: now.div_euclid(1_000_000) };
            let mut findings = diagnose(&workspace, wanted);
            findings.push(diagnose_clock(client.clock_lead_seconds()));
            findings
        }
        Err(error) => vec![unreachable(&error)],
    };
    match missing_records(store, now) {
        Ok(missing) => findings.extend(missing),
        Err(error) => tracing::warn!(%error, "cannot look for calls without a record"),
    }
    findings
}

/// Returns the finding that the settings cannot be read.
pub fn unreachable(error: &ClientError) -> Finding {
    let remedy = match error {
        ClientError::Unauthorized(_) => {
            "use an API key that may read workspace webhooks, agents and conversational settings"
        }
        _ => "look whether this machine reaches ElevenLabs' API, and use the URL of your region",
    };
    Finding::problem("api", error.to_string(), remedy)
}

/// Returns a finding if calls of the last day that ended at least an hour ago have no record.
fn missing_records(store: &dyn Store, now: i64) -> store::Result<Option<Finding>> {
    let filter = CallFilter {
        reconciled: Some(false),
        excluded_statuses: vec![CallStatus::InProgress],
        started_after: Timestamp::from_unix_micros(now - WATCHED_MICROS),
        // Later ones cannot have ended long enough ago, and there may be many.
        started_before: Timestamp::from_unix_micros(now - RECORD_DELAY_MICROS),
        ..CallFilter::default()
    };
    let order = SortOrder::Descending;
    let page = store.calls(&CallPageRequest { filter, order, after: None, limit: MAX_CALLS, with_total: false })?;
    let lacks_record = |call: &crate::domain::Call| {
        let changed = call.updated_at.unix_micros().max(call.call_end_time.map_or(0, Timestamp::unix_micros));
        call.report.channel.is_none_or(|channel| channel == Channel::Phone) && now - changed > RECORD_DELAY_MICROS
    };
    let missing = page.rows.iter().filter(|call| lacks_record(call)).count();
    if missing == 0 {
        return Ok(None);
    }
    let text = format!("{missing} calls of the last day ended without a record");
    let remedy = "fetch them with backfill or --backfill-every, and see the other findings for the cause";
    Ok(Some(if missing < PROBLEM_CALLS {
        Finding::warning("records_missing", text, remedy)
    } else {
        Finding::problem("records_missing", text, remedy)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_news_once_whatever_its_numbers_are_then() {
        let failed = |minutes: u32| Finding::warning("webhook_failed", format!("{minutes} minutes ago"), "look");
        let known = [failed(5), Finding::ok("clock", "in step")];
        assert!(!is_news(&failed(65), &known));
        assert!(is_news(&failed(5), &[]));
        assert!(!is_news(&Finding::ok("webhook", "right"), &[]));
        assert!(is_news(&Finding::problem("webhook_failed", "5 minutes ago", "look"), &known), "it got worse");
        assert!(is_news(&Finding { agent_id: Some("agent_1".to_owned()), ..failed(5) }, &known), "of an agent");
        assert!(is_news(&Finding::warning("webhook_failed", "5 minutes ago", "compare"), &known), "another cause");
    }
}
