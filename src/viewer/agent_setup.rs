//! Agent setup on the first-run page: the tool's configuration, as `generate elevenlabs-tool` prints it.

use crate::elevenlabs::agent_tool::{ToolKind, ToolOptions, configuration};
use serde_json::json;

/// Placeholder of the service's URL; the page replaces it with its own origin.
const BASE_URL: &str = "{origin}";

/// Returns the configuration of the history tool, as JSON.
pub(super) fn document() -> String {
    let settings = ToolOptions { base_url: BASE_URL, secret_id: None, driver_variable: None, call_sid: false };
    json!({ "tool": configuration(ToolKind::History, settings) }).to_string()
}
