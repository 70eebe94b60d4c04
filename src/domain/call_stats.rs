//! Figures of a call: how it was talked, as far as its turns tell.

use super::{CallStatus, DriverId, Reconciled};

/// What one of the two said.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Said {
    /// Turns.
    pub turns: i64,
    /// Characters of their words, as they were said in the end.
    pub characters: i64,
    /// How long that took, by estimate: 15 characters a second, but no longer than until the next turn begins.
    pub seconds: f64,
}

/// How a call was talked. Turns that another one stands for do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Talk {
    /// By the agent.
    pub agent: Said,
    /// By the driver.
    pub driver: Said,
    /// Seconds between turns in which nobody spoke, by the same estimate.
    pub silence_seconds: f64,
}

impl std::ops::AddAssign for Talk {
    fn add_assign(&mut self, other: Self) {
        for (sum, said) in [(&mut self.agent, other.agent), (&mut self.driver, other.driver)] {
            sum.turns += said.turns;
            sum.characters += said.characters;
            sum.seconds += said.seconds;
        }
        self.silence_seconds += other.silence_seconds;
    }
}

/// What of a call is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct CallFigures {
    /// When it began, in whole seconds since 1970.
    pub start_unix_seconds: i64,
    /// Where it stands.
    pub status: CallStatus,
    /// Who was called, when that is known.
    pub driver_id: Option<DriverId>,
    /// How long it took, by the platform, or else from start to end, when that is known.
    pub duration_seconds: Option<f64>,
    /// How it was talked.
    pub talk: Talk,
    /// What came of bringing turns and record together, if there is a record.
    pub reconciled: Option<Reconciled>,
}
