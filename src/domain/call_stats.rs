//! Statistics of a call, computed from its turns.

use super::{AnsweredBy, CallOutcome, CallStatus, Channel, Direction, DriverId, ReconcileCounts};

/// One speaker's share of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpeakerStats {
    /// Number of turns.
    pub turns: i64,
    /// Number of characters, of the final words.
    pub characters: i64,
    /// Estimated duration, in seconds: 15 characters per second, but no longer than until the next turn starts.
    pub seconds: f64,
}

/// Talk time of a call by speaker. Superseded turns are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TalkTime {
    /// The agent's share.
    pub agent: SpeakerStats,
    /// The driver's share.
    pub driver: SpeakerStats,
    /// Estimated silence between turns, in seconds. A pause of more than five minutes does not count: the call was
    /// quiet then, and a turn that arrives a day later must not outweigh everything that was said.
    pub silence_seconds: f64,
}

impl std::ops::AddAssign for TalkTime {
    fn add_assign(&mut self, other: Self) {
        for (sum, said) in [(&mut self.agent, other.agent), (&mut self.driver, other.driver)] {
            sum.turns += said.turns;
            sum.characters += said.characters;
            sum.seconds += said.seconds;
        }
        self.silence_seconds += other.silence_seconds;
    }
}

/// The statistics of a call that are aggregated.
#[derive(Debug, Clone, PartialEq)]
pub struct CallStats<'a> {
    /// Start of the call, in whole seconds since 1970.
    pub start_unix_seconds: i64,
    /// Status of the call.
    pub status: CallStatus,
    /// Driver of the call, if known.
    pub driver_id: Option<DriverId>,
    /// Duration in whole seconds: by ElevenLabs, else from start to end, if known.
    pub duration_seconds: Option<i64>,
    /// Talk time.
    pub talk: TalkTime,
    /// Results of reconciliation, if there is a record.
    pub reconciled: Option<ReconcileCounts>,
    /// The one who answered, if known.
    pub answered_by: Option<AnsweredBy>,
    /// Outcome of the call's goal, if known.
    pub outcome: Option<CallOutcome>,
    /// Channel, if known.
    pub channel: Option<Channel>,
    /// Direction, if known.
    pub direction: Option<Direction>,
    /// Agent, if known.
    pub agent_id: Option<&'a str>,
    /// True if this service ended the call because no more turns arrived.
    pub given_up: bool,
}
