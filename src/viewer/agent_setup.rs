//! What the first-run page shows of connecting an agent: the tool's configuration, as `generate elevenlabs-tool` prints it.

use crate::elevenlabs::agent_tool::{Kind, Settings, configuration};
use serde_json::json;

/// Where the tool sends to; the page puts the address there by which it was itself reached.
const BASE_URL: &str = "{origin}";

/// The tool that sends the conversation so far, as JSON.
pub(super) fn document() -> String {
    let settings = Settings { base_url: BASE_URL, secret_id: None, driver_variable: None };
    json!({ "tool": configuration(Kind::History, settings) }).to_string()
}
