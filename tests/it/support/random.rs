//! Random values, the same ones from the same seed or made small by proptest.

use proptest::prelude::{ProptestConfig, Strategy};
use proptest::test_runner::TestRunner;

/// Checks a number of values, or with `FUZZ_FACTOR` in the environment that many times as many; a failure is told by
/// the smallest value that fails.
pub fn for_any<S: Strategy>(cases: u32, values: &S, check: impl Fn(S::Value)) {
    let factor = std::env::var("FUZZ_FACTOR").map_or(1, |factor| factor.parse().expect("FUZZ_FACTOR is a number"));
    let config = ProptestConfig { cases: cases * factor, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(values, |value| {
        check(value);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A small generator of numbers, xorshift64*, so that a seed tells a whole run.
pub struct Random(pub u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        // The upper bits are the good ones.
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).expect("31 bits") % end
    }

    pub fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
