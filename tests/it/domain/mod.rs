//! Tests of reconciliation: a call from live turns, histories and records, in any order.

mod matching;
mod order_independence;
mod reconcile;
mod slices;
mod two_times;
mod whole_call;
