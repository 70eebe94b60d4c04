//! transcribe-hook
pub mod api;
pub mod cli;
pub mod drivers;
pub mod fields;
pub mod import;
pub mod ingest;
pub mod model;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod writer;
