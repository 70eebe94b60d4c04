//! Support for tests: the running service, builders of turns and events, fake ElevenLabs, tools.

pub mod browser;
pub mod database;
pub mod documents;
pub mod export;
pub mod fake_elevenlabs;
pub mod files;
pub mod mcp;
pub mod metrics;
pub mod openapi;
pub mod process;
pub mod random;
pub mod receiver;
pub mod recorder;
pub mod sample_calls;
pub mod samples;
pub mod search;
pub mod service;
pub mod sse;
pub mod tls;
pub mod tools;
pub mod turns;
pub mod understood;
pub mod whole_call;
pub mod wording;
