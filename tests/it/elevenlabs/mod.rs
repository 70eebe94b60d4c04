//! Tests of ElevenLabs' formats: payloads, signatures, the API client, the agent tool.

mod agent_tool;
mod client;
mod corpus;
mod events;
mod real_deliveries;
mod samples;
mod signature;
mod understood;
mod unread_words;
