//! Access to the writing connection.

use super::Writing;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

/// A guard of the writing connection.
pub(super) struct Writer<'a>(pub(super) MutexGuard<'a, Option<Writing>>);

impl Deref for Writer<'_> {
    type Target = Writing;

    fn deref(&self) -> &Writing {
        self.0.as_ref().expect("the connection is opened before the guard is created")
    }
}

impl DerefMut for Writer<'_> {
    fn deref_mut(&mut self) -> &mut Writing {
        self.0.as_mut().expect("the connection is opened before the guard is created")
    }
}
