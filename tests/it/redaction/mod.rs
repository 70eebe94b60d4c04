//! Tests of personal data that is never stored.

mod deliveries;
