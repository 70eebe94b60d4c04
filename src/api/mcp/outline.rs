//! The definitions of the tools, with the schemas of their arguments and results.

use super::schema::{Definitions, Document};
use super::tool::{
    CALL_FIELDS, CALLS, DRIVERS, HIT_FIELDS, NOTICE, SEARCH, STATS, TOOL_CALL_FIELDS, TURN_FIELDS, TURNS, Tool,
};
use serde_json::{Map, Value, json};

/// Parameters of operations that no tool has.
const LEFT_OUT: [&str; 1] = ["include_total"];

/// A tool with its definition.
pub(super) struct ToolOutline {
    pub(super) tool: Tool,
    /// The definition, as clients list it.
    pub(super) definition: Value,
}

impl ToolOutline {
    /// Creates the definitions of all tools from the OpenAPI document.
    pub(super) fn all(document: &Document<'_>) -> Vec<Self> {
        let define = |tool: Tool| {
            let definition = json!({
                "name": tool.name(),
                "title": tool.title(),
                "description": format!("{} {NOTICE}", tool.description()),
                "inputSchema": input(document, tool),
                "outputSchema": output(document, tool),
                // "Open world", because the words come from strangers.
                "annotations": {
                    "title": tool.title(),
                    "readOnlyHint": true,
                    "destructiveHint": false,
                    "idempotentHint": true,
                    "openWorldHint": true,
                },
            });
            Self { tool, definition }
        };
        Tool::ALL.into_iter().map(define).collect()
    }

    /// Returns the schema of the arguments.
    pub(super) fn input(&self) -> &Value {
        &self.definition["inputSchema"]
    }
}

/// Returns the schema of a tool's arguments.
fn input(document: &Document<'_>, tool: Tool) -> Value {
    let conversation_id =
        json!({ "type": "string", "description": "ElevenLabs' id of the call.", "minLength": 1, "maxLength": 256 });
    let of_call = |names: &[&str]| {
        let mut parameters = document.parameters(CALLS);
        parameters.retain(|name, _| names.contains(&name.as_str()));
        parameters
    };
    let (mut properties, required) = match tool {
        Tool::SearchTurns => (document.parameters(SEARCH), json!(["q"])),
        Tool::ListCalls => (document.parameters(CALLS), json!([])),
        Tool::Stats => (document.parameters(STATS), json!([])),
        Tool::GetCall => {
            let mut properties = document.parameters(TURNS);
            properties.retain(|name, _| name != "include");
            properties.shift_insert(0, "conversation_id".to_owned(), conversation_id);
            (properties, json!(["conversation_id"]))
        }
        Tool::DriverHistory => {
            let mut properties =
                of_call(&["driver_id", "status", "order", "started_after", "started_before", "cursor", "limit"]);
            properties.shift_insert(0, "q".to_owned(), document.parameters(DRIVERS)["q"].clone());
            (properties, json!([]))
        }
    };
    properties.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
    if let Some(rows) = tool.rows() {
        properties["limit"] = json!({
            "type": "integer",
            "description": "Maximum number of rows. A page has fewer if it would be too long.",
            "minimum": 1,
            "maximum": rows.max,
            "default": rows.default,
        });
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// Returns the schema of a tool's result.
fn output(document: &Document<'_>, tool: Tool) -> Value {
    let mut schemas = Definitions::new(document);
    let mut properties = Map::new();
    let mut add = |name: &str, schema: Value| properties.insert(name.to_owned(), schema);
    add("notice", json!({ "type": "string", "description": "Says that the result is untrusted content." }));
    add(
        "shortened",
        json!({
            "type": "boolean",
            "description": "True if long texts or lists were cut, because the result would be too long. A text that was \
                            cut ends with …",
        }),
    );
    let list = |items: Value| json!({ "type": "array", "items": items });
    match tool {
        Tool::SearchTurns => {
            add("turns", list(schemas.refer("SearchHit", Some(HIT_FIELDS))));
            add("unindexed", schemas.field("SearchPage", "unindexed"));
        }
        Tool::ListCalls => {
            add("calls", list(schemas.refer("Call", Some(CALL_FIELDS))));
        }
        Tool::GetCall => {
            add("call", schemas.refer("Call", None));
            add("tool_calls", list(schemas.refer("ToolCall", Some(TOOL_CALL_FIELDS))));
            add(
                "more_tool_calls",
                json!({ "type": "boolean", "description": "True if the call has more tool calls than these." }),
            );
            add("turns", list(schemas.refer("Transcription", Some(TURN_FIELDS))));
        }
        Tool::DriverHistory => {
            let driver = schemas.refer("Driver", None);
            add("driver", driver.clone());
            add("candidates", list(driver));
            add("totals", schemas.refer("CallSums", None));
            add("calls", list(schemas.refer("Call", Some(CALL_FIELDS))));
        }
        Tool::Stats => {
            for name in schemas.field_names("Stats") {
                let schema = schemas.field("Stats", &name);
                add(&name, schema);
            }
        }
    }
    if tool.rows().is_some() {
        let cursor = "The `cursor` of the next page of the same query; absent on the last page.";
        add("next_cursor", json!({ "type": "string", "description": cursor }));
        add("has_more", json!({ "type": "boolean", "description": "True if another page may follow." }));
    }
    let required: &[&str] = match tool {
        Tool::SearchTurns | Tool::ListCalls | Tool::GetCall => &["notice", tool.list(), "has_more"],
        Tool::DriverHistory => &["notice", "has_more"],
        Tool::Stats => &["notice", "zone", "all", "days", "drivers"],
    };
    schemas.object(&properties, required)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_are_described_in_few_bytes() {
        let document = serde_json::from_str(&crate::api::openapi_document()).unwrap();
        let outlines = ToolOutline::all(&Document(&document));
        for outline in &outlines {
            let input = outline.input();
            // What a model reads with each conversation.
            let description = input.to_string().len() + outline.definition["description"].to_string().len();
            assert!(description < 8_000, "{}: {description}", outline.tool.name());
            let output = outline.definition["outputSchema"].to_string();
            assert!(output.len() < 24_000, "{}: {}", outline.tool.name(), output.len());
            for word in ["nullable", "#/components", "null on", "include_total"] {
                assert!(!input.to_string().contains(word), "{word}: {input}");
            }
            assert!(!output.contains("\"nullable\"") && !output.contains("#/components"), "{output}");
        }
    }
}
