//! The one who answered a call, according to several sources.

use super::stored_text::stored_as;
use serde::{Deserialize, Serialize};

/// The one who answered a call. Stored and returned as text, such as `no_answer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnsweredBy {
    /// A person.
    Human,
    /// A voicemail or another answering machine.
    Voicemail,
    /// A fax machine.
    Fax,
    /// Nobody: the line was busy.
    Busy,
    /// Nobody picked up.
    NoAnswer,
    /// Nobody: the call could not be established.
    Failed,
    /// Somebody or something that no source could tell.
    Unknown,
}

stored_as!(AnsweredBy {
    Human => "human",
    Voicemail => "voicemail",
    Fax => "fax",
    Busy => "busy",
    NoAnswer => "no_answer",
    Failed => "failed",
    Unknown => "unknown",
});

impl AnsweredBy {
    /// Returns whether a machine answered, so that the words of the other end are not the driver's.
    pub const fn is_machine(self) -> bool {
        matches!(self, Self::Voicemail | Self::Fax)
    }
}

/// The source of [`AnsweredBy`], the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnsweredBySource {
    /// ElevenLabs' result of the telephone call.
    CallResult,
    /// The agent's tool `voicemail_detection`.
    Tool,
    /// The answering machine detection of the telephone provider.
    Amd,
    /// ElevenLabs' event that the call could not be established.
    InitiationFailure,
}

stored_as!(AnsweredBySource {
    CallResult => "call_result",
    Tool => "tool",
    Amd => "amd",
    InitiationFailure => "initiation_failure",
});

/// ElevenLabs' result of a telephone call (`call_result`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// Somebody or something picked up.
    Answered,
    /// A voicemail picked up.
    Voicemail,
    /// The line was busy.
    Busy,
    /// Nobody picked up.
    NoAnswer,
    /// The call could not be established.
    Failed,
}

stored_as!(CallResult {
    Answered => "answered",
    Voicemail => "voicemail",
    Busy => "busy",
    NoAnswer => "no_answer",
    Failed => "failed",
});

impl CallResult {
    /// Returns who answered. A picked up call was answered by a person only if the driver said something.
    const fn answered_by(self, driver_spoke: bool) -> AnsweredBy {
        match self {
            Self::Answered if driver_spoke => AnsweredBy::Human,
            Self::Answered => AnsweredBy::Unknown,
            Self::Voicemail => AnsweredBy::Voicemail,
            Self::Busy => AnsweredBy::Busy,
            Self::NoAnswer => AnsweredBy::NoAnswer,
            Self::Failed => AnsweredBy::Failed,
        }
    }

    /// Returns whether nobody and nothing picked up.
    pub const fn is_unanswered(self) -> bool {
        matches!(self, Self::Busy | Self::NoAnswer | Self::Failed)
    }
}

/// Claims of ElevenLabs' events about who answered a call, by source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerClaims {
    /// Result of the telephone call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_result: Option<CallResult>,
    /// Verdict of the agent's tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<AnsweredBy>,
    /// Verdict of the answering machine detection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amd: Option<AnsweredBy>,
    /// Reason why the call could not be established.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiation_failure: Option<AnsweredBy>,
}

impl AnswerClaims {
    /// Returns whether there is no claim.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Replaces claims with those of `newer`. Claims that `newer` lacks are retained.
    pub fn update(&mut self, newer: &Self) {
        let Self { call_result, tool, amd, initiation_failure } = *newer;
        self.call_result = call_result.or(self.call_result);
        self.tool = tool.or(self.tool);
        // A later detection that could not tell says less than any other.
        self.amd = amd.filter(|by| *by != AnsweredBy::Unknown).or(self.amd).or(amd);
        self.initiation_failure = initiation_failure.or(self.initiation_failure);
    }

    /// Returns who answered: the claim of the strongest source that could tell. Other claims become the conflict.
    ///
    /// A call that was picked up was answered by a machine if a weaker source says so. The telephone provider cannot
    /// tell them apart, and the words of a voicemail are transcribed like a driver's. If there are words, the call was
    /// established in the end, so an earlier failure decides nothing.
    ///
    /// `driver_spoke` is true if the call has words of the driver.
    pub fn resolve(&self, driver_spoke: bool) -> Answer {
        let claims = [
            (AnsweredBySource::CallResult, self.call_result.map(|result| result.answered_by(driver_spoke))),
            (AnsweredBySource::Tool, self.tool),
            (AnsweredBySource::Amd, self.amd),
            (AnsweredBySource::InitiationFailure, self.initiation_failure),
        ];
        let claims = || claims.iter().filter_map(|(source, by)| Some((*source, (*by)?)));
        let told = || claims().filter(|(_, by)| *by != AnsweredBy::Unknown);
        let is_picked_up = self.call_result == Some(CallResult::Answered);
        let machine = told().find(|(_, by)| is_picked_up && by.is_machine());
        let may_decide =
            |(source, _): &(AnsweredBySource, _)| !driver_spoke || *source != AnsweredBySource::InitiationFailure;
        let decided = machine.or_else(|| told().find(may_decide)).or_else(|| claims().find(may_decide));
        let (source, by) = decided.unzip();
        let others = told().filter(|(_, other)| Some(*other) != by);
        let others: Vec<_> = others.map(|(source, by)| format!("{}: {}", source.as_str(), by.as_str())).collect();
        let conflict = (!others.is_empty()).then(|| others.join(", "));
        Answer { by, source, conflict }
    }
}

/// The resolved answer of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The one who answered, if any source says so.
    pub by: Option<AnsweredBy>,
    /// The source.
    pub source: Option<AnsweredBySource>,
    /// Claims of other sources, such as `amd: voicemail`.
    pub conflict: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_source_that_could_tell_decides_and_others_are_told() {
        use {AnsweredBy as By, AnsweredBySource as Source};
        let claims =
            |call_result, tool, amd, initiation_failure| AnswerClaims { call_result, tool, amd, initiation_failure };
        for (case, claims, spoke, wanted) in [
            ("no claim", AnswerClaims::default(), true, (None, None, None)),
            (
                "picked up, and words",
                claims(Some(CallResult::Answered), None, None, None),
                true,
                (Some(By::Human), Some(Source::CallResult), None),
            ),
            (
                "picked up, without words",
                claims(Some(CallResult::Answered), None, None, None),
                false,
                (Some(By::Unknown), Some(Source::CallResult), None),
            ),
            (
                "picked up without words, and a machine",
                claims(Some(CallResult::Answered), None, Some(By::Voicemail), None),
                false,
                (Some(By::Voicemail), Some(Source::Amd), None),
            ),
            (
                "picked up with words, and a machine",
                claims(Some(CallResult::Answered), None, Some(By::Voicemail), None),
                true,
                (Some(By::Voicemail), Some(Source::Amd), Some("call_result: human")),
            ),
            (
                "picked up with words, and a machine by the tool",
                claims(Some(CallResult::Answered), Some(By::Voicemail), Some(By::Human), None),
                true,
                (Some(By::Voicemail), Some(Source::Tool), Some("call_result: human, amd: human")),
            ),
            (
                "a failure, and words",
                claims(None, None, None, Some(By::Busy)),
                true,
                (None, None, Some("initiation_failure: busy")),
            ),
            (
                "a failure without words",
                claims(None, None, None, Some(By::Busy)),
                false,
                (Some(By::Busy), Some(Source::InitiationFailure), None),
            ),
            (
                "a failure, and picked up later",
                claims(Some(CallResult::Answered), None, None, Some(By::Busy)),
                true,
                (Some(By::Human), Some(Source::CallResult), Some("initiation_failure: busy")),
            ),
            (
                "sources disagree",
                claims(Some(CallResult::Voicemail), Some(By::Voicemail), Some(By::Human), Some(By::Busy)),
                true,
                (Some(By::Voicemail), Some(Source::CallResult), Some("amd: human, initiation_failure: busy")),
            ),
            (
                "an undecided source is no conflict",
                claims(None, Some(By::Voicemail), Some(By::Unknown), None),
                false,
                (Some(By::Voicemail), Some(Source::Tool), None),
            ),
            (
                "only undecided",
                claims(None, None, Some(By::Unknown), None),
                true,
                (Some(By::Unknown), Some(Source::Amd), None),
            ),
        ] {
            let Answer { by, source, conflict } = claims.resolve(spoke);
            assert_eq!((by, source, conflict.as_deref()), wanted, "{case}");
        }
    }

    #[test]
    fn a_detection_that_could_not_tell_replaces_no_verdict() {
        use AnsweredBy::{Human, Unknown, Voicemail};
        for (before, newer, wanted) in [
            (None, Some(Unknown), Some(Unknown)),
            (Some(Unknown), Some(Human), Some(Human)),
            (Some(Human), Some(Unknown), Some(Human)),
            (Some(Human), Some(Voicemail), Some(Voicemail)),
            (Some(Human), None, Some(Human)),
        ] {
            let mut claims = AnswerClaims { amd: before, ..AnswerClaims::default() };
            claims.update(&AnswerClaims { amd: newer, ..AnswerClaims::default() });
            assert_eq!(claims.amd, wanted, "{before:?} {newer:?}");
        }
    }
}
