//! The diagnosis of a workspace: what its settings mean for the events that this service needs.

use crate::domain::shown_url;
use crate::elevenlabs::workspace::{PostCallSettings, Workspace, WorkspaceWebhook};
use crate::telemetry::findings::{Finding, Severity};

/// Path of the webhook for events, which ends the address of the right webhook.
pub const POST_CALL_PATH: &str = "/webhooks/elevenlabs/post-call";

/// Path of the initiation webhook.
const INITIATION_PATH: &str = "/webhooks/elevenlabs/initiation";

/// Maximum age of a failed delivery that is reported, in seconds: a week.
const OLD_FAILURE_SECONDS: i64 = 7 * 24 * 3600;

/// Minimum difference of the clocks that is reported, in seconds.
const CLOCK_WARNING_SECONDS: i64 = 30;

/// Minimum difference of the clocks at which signatures are refused by default, in seconds.
const CLOCK_PROBLEM_SECONDS: i64 = 30 * 60;

/// The state that the settings should have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Public URL of this service, without a trailing slash; `None` if it is not known.
    pub public_url: Option<&'a str>,
    /// True if recordings are stored.
    pub audio: bool,
    /// Current time, in seconds since 1970.
    pub now: i64,
}

impl Wanted<'_> {
    /// Returns whether an address is that of this service. If the public URL is unknown, the path decides.
    pub fn is_address(&self, url: &str) -> bool {
        let url = url.trim().trim_end_matches('/');
        match self.public_url {
            Some(public) => url.eq_ignore_ascii_case(&format!("{public}{POST_CALL_PATH}")),
            None => url.to_ascii_lowercase().ends_with(POST_CALL_PATH),
        }
    }
}

/// Returns the findings about a workspace: its own settings, then those of its agents. Settings without a fault have a
/// finding that says so.
pub fn diagnose(workspace: &Workspace, wanted: Wanted<'_>) -> Vec<Finding> {
    let mut findings = post_call_findings(workspace, &workspace.post_call, wanted);
    for agent in &workspace.agents {
        let agent_findings = post_call_findings(workspace, &agent.post_call, wanted);
        findings.extend(agent_findings.into_iter().map(|finding| Finding {
            text: format!("agent {:?}: {}", agent.name, finding.text),
            agent_id: Some(agent.agent_id.clone()),
            ..finding
        }));
    }
    if workspace.has_more_agents {
        let remedy = "look at the webhook settings of the other agents";
        findings.push(Finding::warning("agents", "there are more agents than were checked", remedy));
    }
    if let Some(url) = &workspace.initiation_url {
        findings.extend(initiation_finding(url, wanted));
    }
    findings
}

/// Returns the findings about the post-call settings of the workspace or of an agent.
fn post_call_findings(workspace: &Workspace, settings: &PostCallSettings, wanted: Wanted<'_>) -> Vec<Finding> {
    let Some(id) = &settings.webhook_id else {
        return vec![Finding::problem(
            "webhook_missing",
            "no webhook gets the post-call events",
            "create a webhook and choose it as the post-call webhook; --fix does both",
        )];
    };
    let Some(webhook) = workspace.webhook(id) else {
        return vec![Finding::problem(
            "webhook_missing",
            format!("the post-call webhook {id:?} does not exist"),
            "choose another post-call webhook; --fix does",
        )];
    };
    let mut findings = webhook_findings(webhook, wanted);
    findings.extend(settings_findings(settings, wanted));
    if findings.iter().all(|finding| finding.severity == Severity::Ok) {
        let address = format!("{}{POST_CALL_PATH}", shown_url(base_of(&webhook.url)));
        findings.insert(0, Finding::ok("webhook", format!("post-call events go to {address}")));
    }
    findings
}

/// Returns a webhook's address without the path that all addresses of this service have.
pub(super) fn base_of(url: &str) -> &str {
    let url = url.trim().trim_end_matches('/');
    let base = url.len().checked_sub(POST_CALL_PATH.len()).and_then(|length| url.split_at_checked(length));
    base.filter(|(_, path)| path.eq_ignore_ascii_case(POST_CALL_PATH)).map_or(url, |(base, _)| base)
}

/// Returns the findings about a post-call webhook: its address, state, failures and retries.
fn webhook_findings(webhook: &WorkspaceWebhook, wanted: Wanted<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = &webhook.name;
    if !wanted.is_address(&webhook.url) {
        let address = wanted.public_url.map_or("https://YOUR-ADDRESS".to_owned(), shown_url);
        findings.push(Finding::problem(
            "webhook_address",
            format!("the post-call webhook {name:?} has an address at {:?}", shown_url(&webhook.url)),
            format!("create one with the address {address}{POST_CALL_PATH}, because addresses cannot be changed"),
        ));
    }
    if webhook.is_auto_disabled {
        findings.push(Finding::problem(
            "webhook_auto_disabled",
            format!("ElevenLabs switched the webhook {name:?} off, because its deliveries failed"),
            "mend what the other findings name, then switch it on; --fix does. Fetch what was missed with backfill",
        ));
    } else if webhook.is_disabled {
        findings.push(Finding::problem(
            "webhook_disabled",
            format!("the webhook {name:?} is switched off"),
            "switch it on; --fix does. Fetch what was missed with backfill",
        ));
    }
    let failure = webhook.last_failure_at.filter(|at| wanted.now.saturating_sub(*at) < OLD_FAILURE_SECONDS);
    if let Some(at) = failure {
        let status =
            webhook.last_failure_status.map_or("without a status".to_owned(), |status| format!("with {status}"));
        findings.push(Finding::warning(
            "webhook_failed",
            format!(
                "a delivery to {name:?} failed {status}, {} minutes ago",
                wanted.now.saturating_sub(at).max(0) / 60
            ),
            failure_remedy(webhook.last_failure_status),
        ));
    }
    match webhook.retries {
        Some(true) => {}
        Some(false) => findings.push(Finding::problem(
            "webhook_retries",
            format!("the webhook {name:?} does not retry failed deliveries"),
            "switch its retries on; --fix does",
        )),
        None => findings.push(Finding::ok(
            "webhook_retries",
            "ElevenLabs' API does not say whether failed deliveries are retried; --fix switches retries on",
        )),
    }
    findings
}

/// Returns what to do about a failed delivery, by its status.
fn failure_remedy(status: Option<i64>) -> &'static str {
    match status {
        Some(401 | 403) => "compare the signing secret of this service with that of the webhook, and the clock",
        Some(404 | 405) => "compare the webhook's address with the public address of this service",
        Some(413) => "raise the maximum size of a body in the proxy",
        Some(300..=399) => "use the address to which the present one redirects",
        Some(500..) => "look at the log of this service and of the proxy before it",
        _ => "look whether this service is reachable from the internet, and answers within seconds",
    }
}

/// Returns the findings about the content of post-call events.
fn settings_findings(settings: &PostCallSettings, wanted: Wanted<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(events) = &settings.events {
        let has = |name: &str| events.iter().any(|event| event == name);
        if !has("transcript") {
            let remedy = "choose the event transcript; --fix does";
            findings.push(Finding::problem("webhook_events", "the event transcript is not sent", remedy));
        }
        if !has("call_initiation_failure") {
            findings.push(Finding::warning(
                "webhook_events",
                "the event call_initiation_failure is not sent, so calls that nobody answers stay unknown",
                "choose the event; --fix does",
            ));
        }
        if wanted.audio && !has("audio") {
            findings.push(Finding::warning(
                "webhook_events",
                "recordings are stored here, but the event audio is not sent",
                "choose the event audio; --fix does",
            ));
        }
    }
    if settings.transcript_format.as_deref().is_some_and(|format| format != "json") {
        findings.push(Finding::warning(
            "webhook_format",
            "transcripts are sent as OpenTelemetry traces, which have fewer facts, and are never retried",
            "choose the format JSON; --fix does",
        ));
    }
    if settings.excludes_transcript {
        findings.push(Finding::problem(
            "transcript_excluded",
            "post-call events are sent without their transcript",
            "let events include the transcript; --fix does",
        ));
    }
    findings
}

/// Returns a finding if the initiation webhook has a wrong path at this service.
fn initiation_finding(url: &str, wanted: Wanted<'_>) -> Option<Finding> {
    let public = wanted.public_url?;
    let url = url.trim_end_matches('/');
    let is_here = url.get(..public.len()).is_some_and(|start| start.eq_ignore_ascii_case(public));
    let is_right = url.eq_ignore_ascii_case(&format!("{public}{INITIATION_PATH}"));
    (is_here && !is_right).then(|| {
        Finding::problem(
            "initiation_address",
            format!("the initiation webhook has an address at {:?}, where nothing answers", shown_url(url)),
            format!("change it to {}{INITIATION_PATH}", shown_url(public)),
        )
    })
}

/// Returns the finding about the clocks, from the lead of ElevenLabs' clock in seconds.
pub fn diagnose_clock(lead: Option<i64>) -> Finding {
    let Some(lead) = lead else { return Finding::ok("clock", "ElevenLabs did not say its time") };
    let text = format!(
        "ElevenLabs' clock is {} s {} this one",
        lead.saturating_abs(),
        if lead < 0 { "behind" } else { "ahead of" }
    );
    let remedy = "synchronise this machine's clock, for example with chrony or systemd-timesyncd";
    match lead.saturating_abs() {
        CLOCK_PROBLEM_SECONDS.. => Finding::problem("clock", text, remedy),
        CLOCK_WARNING_SECONDS.. => Finding::warning("clock", text, remedy),
        _ => Finding::ok("clock", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elevenlabs::workspace::AgentSettings;

    type Change = fn(&mut Workspace);

    const NOW: i64 = 1_790_000_000;
    const PUBLIC: &str = "https://calls.example.com";

    fn good() -> Workspace {
        Workspace {
            webhooks: vec![WorkspaceWebhook {
                id: "wh_1".to_owned(),
                name: "calls".to_owned(),
                url: format!("{PUBLIC}{POST_CALL_PATH}"),
                is_disabled: false,
                is_auto_disabled: false,
                retries: Some(true),
                last_failure_status: None,
                last_failure_at: None,
            }],
            post_call: PostCallSettings {
                webhook_id: Some("wh_1".to_owned()),
                events: Some(["transcript", "audio", "call_initiation_failure"].map(str::to_owned).to_vec()),
                transcript_format: Some("json".to_owned()),
                excludes_transcript: false,
            },
            ..Workspace::default()
        }
    }

    fn found(workspace: &Workspace) -> Vec<(&'static str, Severity)> {
        let wanted = Wanted { public_url: Some(PUBLIC), audio: true, now: NOW };
        diagnose(workspace, wanted).iter().map(|finding| (finding.check, finding.severity)).collect()
    }

    fn with(change: impl FnOnce(&mut Workspace)) -> Workspace {
        let mut workspace = good();
        change(&mut workspace);
        workspace
    }

    #[test]
    fn each_wrong_setting_is_found_and_right_ones_are_said_to_be_right() {
        use Severity::{Ok, Problem, Warning};
        assert_eq!(found(&good()), [("webhook", Ok)]);
        let other = |url: &str| with(|w| w.webhooks[0].url = url.to_owned());
        assert_eq!(found(&other("https://CALLS.example.com/webhooks/elevenlabs/post-call/")), [("webhook", Ok)]);
        assert_eq!(
            found(&other("https://other.example/webhooks/elevenlabs/post-call")),
            [("webhook_address", Problem)]
        );
        let changes: [(Change, &str, Severity); 12] = [
            (|w| w.post_call.webhook_id = None, "webhook_missing", Problem),
            (|w| w.webhooks.clear(), "webhook_missing", Problem),
            (|w| w.webhooks[0].is_disabled = true, "webhook_disabled", Problem),
            (|w| w.webhooks[0].is_auto_disabled = true, "webhook_auto_disabled", Problem),
            (|w| w.webhooks[0].last_failure_at = Some(NOW - 3600), "webhook_failed", Warning),
            (|w| w.webhooks[0].retries = Some(false), "webhook_retries", Problem),
            (
                |w| w.post_call.events = Some(vec!["audio".into(), "call_initiation_failure".into()]),
                "webhook_events",
                Problem,
            ),
            (|w| w.post_call.events = Some(vec!["audio".into(), "transcript".into()]), "webhook_events", Warning),
            (|w| w.post_call.transcript_format = Some("opentelemetry".to_owned()), "webhook_format", Warning),
            (|w| w.post_call.excludes_transcript = true, "transcript_excluded", Problem),
            (|w| w.has_more_agents = true, "agents", Warning),
            (|w| w.initiation_url = Some(format!("{PUBLIC}/initiation")), "initiation_address", Problem),
        ];
        for (change, check, severity) in changes {
            let found: Vec<_> = found(&with(change)).into_iter().filter(|(_, severity)| *severity != Ok).collect();
            assert_eq!(found, [(check, severity)]);
        }
        for harmless in [
            with(|w| w.webhooks[0].last_failure_at = Some(NOW - OLD_FAILURE_SECONDS)),
            with(|w| w.post_call.events = None),
            with(|w| w.post_call.transcript_format = None),
            with(|w| w.initiation_url = Some("https://other.example/initiation".to_owned())),
        ] {
            assert_eq!(found(&harmless), [("webhook", Ok)]);
        }
    }

    #[test]
    fn an_agent_with_settings_of_its_own_is_judged_by_them() {
        let workspace = with(|w| {
            let post_call = PostCallSettings { webhook_id: Some("wh_2".to_owned()), ..w.post_call.clone() };
            w.agents.push(AgentSettings { agent_id: "agent_1".to_owned(), name: "Dispatch".to_owned(), post_call });
        });
        let wanted = Wanted { public_url: Some(PUBLIC), audio: true, now: NOW };
        let findings = diagnose(&workspace, wanted);
        let of_agent: Vec<_> = findings.iter().filter(|finding| finding.agent_id.is_some()).collect();
        assert_eq!(of_agent.len(), 1);
        assert_eq!((of_agent[0].check, of_agent[0].severity), ("webhook_missing", Severity::Problem));
    }

    #[test]
    fn no_finding_shows_a_secret_or_a_control_character_of_an_address_or_a_name() {
        let hostile = "https://user:hidden_word@h.example\u{1b}]0;x\u{7}/hidden_word?hidden_word";
        let own = format!("https://user:hidden_word@h.example{POST_CALL_PATH}");
        for url in [hostile, &own] {
            let workspace = with(|w| {
                w.webhooks[0].url = url.to_owned();
                w.webhooks[0].name = "bell\u{7}".to_owned();
                w.webhooks[0].is_disabled = true;
                let post_call = PostCallSettings { webhook_id: Some("wh\u{1b}".to_owned()), ..w.post_call.clone() };
                w.agents.push(AgentSettings {
                    agent_id: "agent_1".to_owned(),
                    name: "\u{1b}[2J".to_owned(),
                    post_call,
                });
                w.initiation_url = Some(format!("{PUBLIC}/\u{7}hidden_word"));
            });
            for public_url in [Some(PUBLIC), None] {
                let findings = diagnose(&workspace, Wanted { public_url, audio: true, now: NOW });
                assert!(findings.len() > 1, "{findings:?}");
                for finding in &findings {
                    let said = format!("{} {}", finding.text, finding.remedy.as_deref().unwrap_or_default());
                    assert!(!said.contains("hidden_word") && !said.contains(char::is_control), "{said:?}");
                }
            }
        }
        let good = diagnose(&with(|w| w.webhooks[0].url = own.clone()), Wanted { now: NOW, ..Wanted::default() });
        assert!(good[0].check == "webhook" && !good[0].text.contains("hidden_word"), "{good:?}");
    }

    #[test]
    fn clocks_that_differ_are_found() {
        for (lead, severity) in [
            (None, Severity::Ok),
            (Some(-5), Severity::Ok),
            (Some(40), Severity::Warning),
            (Some(-1800), Severity::Problem),
            (Some(i64::MAX), Severity::Problem),
        ] {
            assert_eq!(diagnose_clock(lead).severity, severity, "{lead:?}");
        }
    }
}
