//! Numbers that are neither infinite nor NaN.

use serde::{Deserialize, Deserializer, Serialize};

/// A finite number. Unlike [`f64`] it is always equal to itself.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Finite(f64);

impl Eq for Finite {}

impl Finite {
    /// Returns the number, or `None` if it is infinite or NaN.
    pub fn new(number: f64) -> Option<Self> {
        // Zero has one form, so that equal numbers have equal JSON.
        number.is_finite().then_some(Self(if number == 0.0 { 0.0 } else { number }))
    }

    /// Returns the number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("not a finite number"))
    }
}
