//! The measurements of one run of the benchmark.

use crate::contention::Beside;
use crate::disk::{BareStore, Sync};
use crate::large::Large;
use crate::load::{OneCall, Run};
use crate::machine::Machine;
use crate::outreach::Outreach;
use crate::peers::Peers;
use crate::rereads::Rereads;
use crate::search::Search;
use crate::streams::Streams;
use crate::summary::Summary;
use serde::Serialize;

/// The measurements of one run of the benchmark. Parts that were not requested are empty.
#[derive(Serialize)]
pub(crate) struct Measurements {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) process: Option<Process>,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
    pub(crate) one_call: Option<OneCall>,
    pub(crate) bare_store: Vec<BareStore>,
    pub(crate) syncs: Vec<Sync>,
    pub(crate) peers: Option<Peers>,
    pub(crate) large: Option<Large>,
    pub(crate) beside: Option<Beside>,
    pub(crate) streams: Option<Streams>,
    pub(crate) outreach: Option<Outreach>,
    pub(crate) rereads: Option<Rereads>,
    pub(crate) search: Option<Search>,
}

/// The idle service: medians of some starts over an empty database.
#[derive(Serialize)]
pub(crate) struct Process {
    pub(crate) binary_bytes: u64,
    pub(crate) until_listening_ms: f64,
    pub(crate) until_ready_ms: f64,
    pub(crate) idle_memory_kib: f64,
}
