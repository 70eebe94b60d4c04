//! The writing connection while somebody holds it.

use super::Writing;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

/// The writing connection, held.
pub(super) struct Writer<'a>(pub(super) MutexGuard<'a, Option<Writing>>);

impl Deref for Writer<'_> {
    type Target = Writing;

    fn deref(&self) -> &Writing {
        self.0.as_ref().expect("opened before it is held")
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut Writing {
        self.0.as_mut().expect("opened before it is held")
    }
}
