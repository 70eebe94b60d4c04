//! The OpenAPI document: the framework's document, completed in one pass.
//!
//! It follows OpenAPI 3.0 (<https://spec.openapis.org/oas/v3.0.3>) and the limits of common client generators: a
//! nullable enumeration lists `null` as a value, a refined schema is not an `allOf` of two members, fields that are
//! always sent are required, and operations without credentials say so.

use super::auth::required_role;
use super::calls::filter::{MAX_TEXT_CHARS, MAX_VALUES};
use crate::domain::{MAX_MESSAGE_BYTES, UserName};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Maximum driver id: the largest integer that every JSON parser represents exactly.
const MAX_DRIVER_ID: i64 = crate::domain::DriverId::MAX;

/// Pattern of a name without control characters that is not blank.
const NO_CONTROL: &str = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";

/// Pattern for text that does not contain U+0000.
const NO_NUL: &str = "^[^\\u0000]*$";

/// Pattern for text that is not blank and does not contain U+0000.
const NOT_BLANK: &str = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$";

/// Returns the published document, from the framework's document.
pub(super) fn complete(framework: &str) -> String {
    let mut document: Value = serde_json::from_str(framework).expect("the framework writes JSON");
    // Relative to the URL of the document, which is correct behind any proxy.
    document["servers"] = json!([{ "url": "/" }]);
    simplify(&mut document);
    constrain_schemas(&mut document["components"]["schemas"]);
    require_sent_fields(&mut document);
    name_nullable_schemas(&mut document);
    for operation in operations(&mut document) {
        complete_operation(operation);
        if let Some(role) = operation["operationId"].as_str().and_then(required_role) {
            operation["x-required-role"] = role.as_str().into();
        }
    }
    serde_json::to_string_pretty(&document).expect("JSON is written")
}

/// Returns all operations of the document.
fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().expect("the document has paths");
    paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut)
}

/// Removes the character set from media types, because generators look for `application/json`. Merges each `allOf` of a
/// reference and its description, because the framework repeats the description beside it.
fn simplify(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Object(entries) => {
            if let Some(content) = entries.get_mut("content").and_then(Value::as_object_mut) {
                if let Some(json) = content.shift_remove("application/json; charset=utf-8") {
                    content.shift_insert(0, "application/json".to_owned(), json);
                }
            }
            if let Some(members) = entries.get_mut("allOf").and_then(Value::as_array_mut) {
                let mut refinement = members.drain(1..).fold(Map::new(), |mut all, member| {
                    if let Value::Object(member) = member {
                        all.extend(member);
                    }
                    all
                });
                // The framework writes these entries twice.
                refinement.retain(|name, _| !entries.contains_key(name));
                entries.extend(refinement);
            }
            entries.values_mut().for_each(simplify);
        }
        _ => {}
    }
}

/// Adds rules for properties that the Rust types cannot express.
fn constrain_schemas(schemas: &mut Value) {
    let whole = json!({ "minimum": 1, "maximum": MAX_DRIVER_ID });
    let rules = [
        ("TurnDelivery", "conversation_id", json!({ "pattern": NOT_BLANK })),
        ("TurnDelivery", "message", json!({ "pattern": "\\S", "maxLength": MAX_MESSAGE_BYTES })),
        ("TurnDelivery", "timestamp", json!({ "format": "date-time" })),
        ("HistoryDelivery", "conversation_id", json!({ "pattern": NOT_BLANK })),
        ("HistoryDelivery", "timestamp", json!({ "format": "date-time" })),
        ("HistoryDelivery", "history", any_history()),
        ("DispatchItem", "conversation_id", json!({ "pattern": NOT_BLANK })),
        ("DispatchItem", "batch_id", json!({ "pattern": NOT_BLANK })),
        ("DispatchItem", "driver_id", whole.clone()),
        ("DispatchPut", "batch_id", json!({ "pattern": NOT_BLANK })),
        ("DispatchPut", "driver_id", whole.clone()),
        ("DriverPut", "name", json!({ "pattern": NOT_BLANK })),
        ("Credentials", "token", json!({ "minLength": 1 })),
        ("ErrorBody", "status", json!({ "enum": ["error"] })),
        ("EventTaken", "status", json!({ "enum": ["success"] })),
        ("Health", "status", json!({ "enum": ["ok"] })),
        ("HistoryStored", "status", json!({ "enum": ["success"] })),
        ("TurnStored", "status", json!({ "enum": ["success"] })),
        ("TurnStored", "sequence_number", json!({ "minimum": 1 })),
        ("Call", "driver_id", whole.clone()),
        ("Driver", "id", whole.clone()),
        ("Dispatch", "driver_id", whole.clone()),
        ("SearchHit", "driver_id", whole),
    ];
    for (schema, property, rule) in rules {
        let property = &mut schemas[schema]["properties"][property];
        assert!(property.is_object(), "{schema} has the property {property}");
        extend(property, rule);
    }
    for request in ["CallPatch", "DispatchBulk", "DispatchItem", "DispatchPut", "DriverPut"] {
        schemas[request]["additionalProperties"] = false.into();
    }
    // A measurement may be any number, under any name.
    for schema in ["Transcription", "SearchHit"] {
        schemas[schema]["properties"]["metrics"]["type"] = "object".into();
    }
    // ElevenLabs' variables may have any type, and its events any fields; all of them are stored.
    for property in ["agent_id", "driver_id", "user_id", "history"] {
        let property = &mut schemas["HistoryDelivery"]["properties"][property];
        property.as_object_mut().expect("a property").shift_remove("type");
    }
    for event in ["PostCallEvent", "PostCallEventData"] {
        schemas[event].as_object_mut().expect("an object").shift_remove("required");
    }
}

/// Returns the schema of a history: the JSON of a conversation as text, or the conversation itself.
fn any_history() -> Value {
    let entries = json!({ "type": "array", "items": {} });
    json!({ "anyOf": [
        { "type": "string", "format": "conversation-history" },
        { "type": "object", "required": ["entries"], "properties": { "entries": entries } },
        entries,
    ] })
}

fn extend(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

/// Marks every nullable field of a response as required, because responses always contain it, even if it is null.
/// Requests may omit it.
fn require_sent_fields(document: &mut Value) {
    let mut sent = BTreeSet::new();
    for (_, item) in document["paths"].as_object().expect("paths") {
        for (_, operation) in item.as_object().expect("a path") {
            collect_schemas(&operation["responses"], document, &mut sent);
        }
    }
    for name in sent {
        let Some(schema) = document["components"]["schemas"][&name].as_object_mut() else { continue };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { continue };
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let all: Vec<_> = properties
            .iter()
            .filter(|(name, property)| property["nullable"] == true || required.contains(&json!(name)))
            .map(|(name, _)| json!(name))
            .collect();
        schema.insert("required".to_owned(), all.into());
    }
}

/// Collects the names of the schemas that `value` refers to, directly or indirectly.
fn collect_schemas(value: &Value, document: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_schemas(item, document, found)),
        Value::Object(entries) => {
            let name = entries.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            if let Some(name) = name.filter(|name| found.insert((*name).to_owned())) {
                collect_schemas(&document["components"]["schemas"][name], document, found);
            }
            entries.values().for_each(|entry| collect_schemas(entry, document, found));
        }
        _ => {}
    }
}

/// Refers to a separate schema for each nullable enumeration or object, because `nullable` has no effect beside a
/// reference.
fn name_nullable_schemas(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut().expect("schemas");
    let mut nullable = Map::new();
    for (_, schema) in schemas.iter_mut() {
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for property in properties.values_mut().filter(|property| property["nullable"] == true) {
            let Some(reference) = property["allOf"][0]["$ref"].as_str() else { continue };
            let name = reference.rsplit('/').next().expect("a reference has a name").to_owned();
            *property = json!({ "$ref": format!("#/components/schemas/Nullable{name}") });
            nullable.insert(name, Value::Null);
        }
    }
    for name in nullable.keys() {
        let mut schema = schemas[name].clone();
        schema["nullable"] = true.into();
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.push(Value::Null);
        }
        schemas.insert(format!("Nullable{name}"), schema);
    }
    // Remove the schemas that nothing refers to any more.
    let mut used = BTreeSet::new();
    collect_schemas(&document["paths"], document, &mut used);
    document["components"]["schemas"].as_object_mut().expect("schemas").retain(|name, _| used.contains(name));
}

fn complete_operation(operation: &mut Value) {
    if operation.get("security").is_none() {
        operation["security"] = json!([]);
    }
    if operation.get("description").is_none() {
        operation["description"] = operation["summary"].clone();
    }
    // Both forms of sign-in accept the same fields; a client needs one of them.
    if operation["operationId"] == "sign_in" {
        operation["requestBody"]["content"]
            .as_object_mut()
            .expect("credentials")
            .shift_remove("application/x-www-form-urlencoded");
    }
    let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) else { return };
    // Browsers send this header themselves; other clients use the query parameter with nearly the same name.
    parameters.retain(|parameter| parameter["name"] != "Last-Event-ID");
    for parameter in parameters {
        let rule =
            rule_of(parameter["in"].as_str().unwrap_or_default(), parameter["name"].as_str().unwrap_or_default());
        if parameter["name"] == "ElevenLabs-Signature" {
            parameter["required"] = true.into();
        }
        // A repeatable parameter may also be absent.
        if parameter["schema"]["type"] == "array" {
            parameter["required"] = false.into();
        }
        if let Some(rule) = rule {
            extend(&mut parameter["schema"], rule);
        }
    }
}

/// Returns the rule for a text that is compared with an identifier or name of ElevenLabs.
fn one_name() -> Value {
    json!({ "minLength": 1, "maxLength": MAX_TEXT_CHARS, "pattern": NO_NUL })
}

/// Returns the rule for the values of a parameter, in addition to its type.
fn rule_of(location: &str, name: &str) -> Option<Value> {
    Some(match (location, name) {
        ("path", "id") => {
            json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_DRIVER_ID })
        }
        ("query", "driver_id") => json!({ "minimum": 1, "maximum": MAX_DRIVER_ID }),
        (_, "conversation_id") => json!({ "minLength": 1, "maxLength": 256, "pattern": NOT_BLANK }),
        ("query", "ids") => json!({ "pattern": "^[1-9][0-9]{0,14}(,[1-9][0-9]{0,14}){0,99}$" }),
        ("query", "cursor") => json!({ "minLength": 1, "format": "cursor" }),
        ("query", "last_event_id") => json!({ "pattern": "^[0-9]{1,18}-[0-9]{1,18}(-[0-9]{1,18})?$" }),
        ("query", "q") => json!({ "format": "search-expression" }),
        ("query", "batch_id") => json!({ "pattern": NOT_BLANK }),
        ("query", "after_sequence" | "min_seconds" | "max_seconds") => json!({ "minimum": 0 }),
        ("query", "zone") => json!({ "minLength": 1, "format": "iana-time-zone" }),
        ("query", "call_start_after_unix" | "call_start_before_unix") => {
            json!({ "minimum": -62_167_219_200_i64, "maximum": 253_402_300_799_i64 })
        }
        ("query", "search") => json!({ "pattern": NO_NUL }),
        ("query", "user_id" | "agent_id" | "branch_id" | "environment") => one_name(),
        (
            "query",
            "language" | "tag" | "tool" | "alert" | "main_languages" | "tool_names" | "tag_ids" | "termination_reasons",
        ) => {
            let mut name = one_name();
            name["type"] = "string".into();
            json!({ "maxItems": MAX_VALUES, "items": name })
        }
        ("query", "user") => {
            json!({ "minLength": 1, "maxLength": UserName::MAX_CHARS, "pattern": NO_CONTROL })
        }
        ("query", "number") => json!({ "minLength": 4, "format": "telephone-number" }),
        ("header", "Idempotency-Key") => json!({ "minLength": 1, "maxLength": 256, "pattern": "^[!-~][ -~]*$" }),
        ("header", "ElevenLabs-Signature") => json!({ "minLength": 1 }),
        _ => return None,
    })
}
