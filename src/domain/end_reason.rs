//! The normalised reason why a call ended.

use super::stored_text::stored_as;
use super::{AnsweredBy, Call, CallStatus};

/// The reason why a call ended. Computed for every reader, here and by the view `call_overview`, and not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndReason {
    /// The other end hung up.
    HungUp,
    /// The agent ended the call.
    AgentEnded,
    /// ElevenLabs ended the call because nobody spoke.
    Silence,
    /// This service ended the call because no more turns arrived.
    Inactivity,
    /// The line was busy.
    Busy,
    /// Nobody picked up.
    NoAnswer,
    /// The call could not be established, or broke off.
    Error,
    /// Another reason.
    Other,
}

stored_as!(EndReason {
    HungUp => "hung_up",
    AgentEnded => "agent_ended",
    Silence => "silence",
    Inactivity => "inactivity",
    Busy => "busy",
    NoAnswer => "no_answer",
    Error => "error",
    Other => "other",
});

/// The facts that decide an [`EndReason`].
#[derive(Debug, Clone, Copy)]
pub struct EndFacts<'a> {
    /// Status of the call.
    pub status: CallStatus,
    /// Reason as free text.
    pub termination_reason: Option<&'a str>,
    /// The one who answered.
    pub answered_by: Option<AnsweredBy>,
    /// True if the agent's tool `end_call` was called and did not fail.
    pub agent_ended: bool,
}

impl EndReason {
    /// Returns the reason, or `None` while the call runs or while nothing tells the reason.
    ///
    /// ElevenLabs' reason is free text, so only words that are known from real calls are looked for. The words take
    /// precedence over the tool: a driver may hang up while the agent says goodbye.
    pub fn of(call: EndFacts<'_>) -> Option<Self> {
        let reason = call.termination_reason.unwrap_or_default().trim_matches(' ').to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        let failed = call.status == CallStatus::Failed;
        let unanswered = |by| failed && call.answered_by == Some(by);
        Some(match () {
            () if call.status == CallStatus::InProgress => return None,
            () if reason == "inactivity" => Self::Inactivity,
            () if reason == "busy" || unanswered(AnsweredBy::Busy) => Self::Busy,
            () if matches!(&*reason, "no-answer" | "no_answer" | "no answer") || unanswered(AnsweredBy::NoAnswer) => {
                Self::NoAnswer
            }
            () if has(&["remote party", "disconnected", "hung up", "ended by user", "user ended"]) => Self::HungUp,
            () if has(&["end_call", "voicemail_detection", "ended by agent", "agent ended"]) => Self::AgentEnded,
            () if has(&["silence"]) => Self::Silence,
            () if call.agent_ended => Self::AgentEnded,
            () if failed || has(&["error", "fail"]) => Self::Error,
            () if reason.is_empty() => return None,
            () => Self::Other,
        })
    }
}

impl Call {
    /// Returns the reason why the call ended, if it ended and the reason is known.
    pub fn end_reason(&self) -> Option<EndReason> {
        EndReason::of(EndFacts {
            status: self.status,
            termination_reason: self.report.termination_reason.as_deref(),
            answered_by: self.report.answered_by,
            agent_ended: self.report.agent_ended,
        })
    }
}
