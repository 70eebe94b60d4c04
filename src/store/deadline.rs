//! The deadline of the reads that a thread does, which includes the time that they waited before.
//!
//! It is the thread's and no parameter, because one request may read several times and all of it must end in time.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Does some work, whose reads must end by `deadline`.
pub fn reading_until<T>(deadline: Instant, work: impl FnOnce() -> T) -> T {
    /// Restores what was before, also after a panic.
    struct Restore(Option<Instant>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEADLINE.set(self.0);
        }
    }
    let _restore = Restore(DEADLINE.replace(Some(deadline)));
    work()
}

/// Returns the deadline of the work that this thread does, if it has one.
pub(in crate::store) fn deadline() -> Option<Instant> {
    DEADLINE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_ends_with_its_work_also_by_a_panic() {
        let end = Instant::now();
        assert_eq!(reading_until(end, deadline), Some(end));
        assert_eq!(deadline(), None);
        assert!(std::panic::catch_unwind(|| reading_until(end, || panic!("on purpose"))).is_err());
        assert_eq!(deadline(), None);
    }
}
