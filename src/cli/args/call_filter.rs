//! Flags that select calls.

use super::values::{
    answered_by, channel, conversation_id, direction, driver_id, name, number, outcome, seconds, status, time,
};
use crate::domain::{
    AnsweredBy, CallOutcome, CallStatus, Channel, ConversationId, Direction, DriverId, NumberEnd, Timestamp,
};
use crate::store::CallFilter;
use clap::Args;

/// The flags that select calls.
#[derive(Debug, Args)]
pub(in crate::cli) struct CallFilterArgs {
    /// Select only this call
    #[arg(long, env = "TRANSCRIBE_HOOK_CONVERSATION_ID", value_name = "ID", value_parser = conversation_id)]
    pub(in crate::cli) conversation_id: Option<ConversationId>,
    /// Select only calls of this status: `in_progress`, completed or failed
    #[arg(long, env = "TRANSCRIBE_HOOK_STATUS", value_name = "STATUS", value_parser = status)]
    status: Option<CallStatus>,
    /// Select only calls with this driver
    #[arg(long, env = "TRANSCRIBE_HOOK_DRIVER_ID", value_name = "NUMBER", value_parser = driver_id)]
    driver_id: Option<DriverId>,
    /// Select only calls with a known driver, or only those without
    #[arg(long, env = "TRANSCRIBE_HOOK_HAS_DRIVER", value_name = "BOOL")]
    has_driver: Option<bool>,
    /// Select only calls that a human, voicemail, fax … answered
    #[arg(long, env = "TRANSCRIBE_HOOK_ANSWERED_BY", value_name = "WHO", value_parser = answered_by)]
    answered_by: Option<AnsweredBy>,
    /// Select only calls with this outcome: success, failure or unknown
    #[arg(long, env = "TRANSCRIBE_HOOK_OUTCOME", value_name = "OUTCOME", value_parser = outcome)]
    outcome: Option<CallOutcome>,
    /// Select only calls in this direction: inbound or outbound
    #[arg(long, env = "TRANSCRIBE_HOOK_DIRECTION", value_name = "DIRECTION", value_parser = direction)]
    direction: Option<Direction>,
    /// Select only calls of this channel, such as phone or sms
    #[arg(long, env = "TRANSCRIBE_HOOK_CHANNEL", value_name = "CHANNEL", value_parser = channel)]
    channel: Option<Channel>,
    /// Select only calls of this agent
    #[arg(long, env = "TRANSCRIBE_HOOK_AGENT_ID", value_name = "ID", value_parser = name)]
    agent_id: Option<String>,
    /// Select only calls with this number, or its last digits
    #[arg(long, env = "TRANSCRIBE_HOOK_NUMBER", value_name = "NUMBER", value_parser = number)]
    number: Option<NumberEnd>,
    /// Select only calls in this main language; repeatable
    #[arg(long, env = "TRANSCRIBE_HOOK_LANGUAGE", value_name = "CODE", value_parser = name)]
    language: Vec<String>,
    /// Select only calls of this environment, such as production
    #[arg(long, env = "TRANSCRIBE_HOOK_ENVIRONMENT", value_name = "NAME", value_parser = name)]
    environment: Option<String>,
    /// Select only calls with this tag; repeatable
    #[arg(long, env = "TRANSCRIBE_HOOK_TAG", value_name = "ID", value_parser = name)]
    tag: Vec<String>,
    /// Select only calls where this tool was called; repeatable
    #[arg(long, env = "TRANSCRIBE_HOOK_TOOL", value_name = "NAME", value_parser = name)]
    tool: Vec<String>,
    /// Select only calls where a tool failed, or none did
    #[arg(long, env = "TRANSCRIBE_HOOK_TOOL_ERROR", value_name = "BOOL")]
    tool_error: Option<bool>,
    /// Select only calls that matched this alert; repeatable
    // Not `--alert`, because the variable of that name configures the alerts of `serve`.
    #[arg(long, env = "TRANSCRIBE_HOOK_ALERT_NAME", value_name = "NAME", value_parser = name)]
    alert_name: Vec<String>,
    /// Select only calls that matched an alert, or only others
    #[arg(long, env = "TRANSCRIBE_HOOK_HAS_ALERT", value_name = "BOOL")]
    has_alert: Option<bool>,
    /// Select only calls of at least this many seconds
    #[arg(long, env = "TRANSCRIBE_HOOK_MIN_SECONDS", value_name = "NUMBER", value_parser = seconds)]
    min_seconds: Option<i64>,
    /// Select only calls of at most this many seconds
    #[arg(long, env = "TRANSCRIBE_HOOK_MAX_SECONDS", value_name = "NUMBER", value_parser = seconds)]
    max_seconds: Option<i64>,
    /// Select only calls with a recording, or only those without
    #[arg(long, env = "TRANSCRIBE_HOOK_HAS_AUDIO", value_name = "BOOL")]
    has_audio: Option<bool>,
    /// Select only reconciled calls, or only others
    #[arg(long, env = "TRANSCRIBE_HOOK_RECONCILED", value_name = "BOOL")]
    reconciled: Option<bool>,
    /// Select sub-agents' conversations too; the default of exports
    #[arg(long, env = "TRANSCRIBE_HOOK_INCLUDE_CHILDREN", value_name = "BOOL")]
    include_children: Option<bool>,
    /// Select only calls that started at this time or later
    #[arg(long, env = "TRANSCRIBE_HOOK_STARTED_AFTER", value_name = "TIME", value_parser = time)]
    started_after: Option<Timestamp>,
    /// Select only calls that started before this time
    #[arg(long, env = "TRANSCRIBE_HOOK_STARTED_BEFORE", value_name = "TIME", value_parser = time)]
    started_before: Option<Timestamp>,
}

impl CallFilterArgs {
    /// Returns the filter. `include_children` is the default of the flag with that name.
    pub(in crate::cli) fn filter(&self, include_children: bool) -> CallFilter {
        CallFilter {
            conversation_id: self.conversation_id.clone(),
            status: self.status,
            driver_id: self.driver_id,
            has_driver: self.has_driver,
            answered_by: self.answered_by,
            outcome: self.outcome,
            direction: self.direction,
            channel: self.channel,
            agent_id: self.agent_id.clone(),
            number: self.number.clone(),
            languages: self.language.clone(),
            environment: self.environment.clone(),
            tags: self.tag.clone(),
            tools: self.tool.clone(),
            tool_error: self.tool_error,
            alerts: self.alert_name.clone(),
            has_alert: self.has_alert,
            min_seconds: self.min_seconds,
            max_seconds: self.max_seconds,
            has_audio: self.has_audio,
            reconciled: self.reconciled,
            exclude_children: !self.include_children.unwrap_or(include_children),
            started_after: self.started_after,
            started_before: self.started_before,
            ..CallFilter::default()
        }
    }
}
