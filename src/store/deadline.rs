//! The deadline of the reads of a thread.
//!
//! The deadline includes the time that a read waits for a free connection. It belongs to the thread, and is not a
//! parameter, because one request may read several times and all of its reads must end in time.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs some work whose reads must end by `deadline`.
pub fn reading_until<T>(deadline: Instant, work: impl FnOnce() -> T) -> T {
    /// Guard that restores the previous deadline, even after a panic.
    struct Restore(Option<Instant>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEADLINE.set(self.0);
        }
    }
    let _restore = Restore(DEADLINE.replace(Some(deadline)));
    work()
}

/// Returns the deadline of this thread's work, if it has one.
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
