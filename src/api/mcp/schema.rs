//! JSON Schema of arguments and results, from the OpenAPI document.
//!
//! OpenAPI 3.0 has its own dialect: `nullable`, and formats that validators of JSON Schema do not know. A result has no
//! nulls, so a nullable field is an optional one here.

use serde_json::{Map, Value, json};

/// Prefix of references to schemas of the document.
const COMPONENTS: &str = "#/components/schemas/";

/// Keywords that are the same in JSON Schema. Patterns are left to the operations, because few models follow them.
const KEYWORDS: [&str; 11] = [
    "type",
    "description",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "properties",
];

/// The schemas of the OpenAPI document.
pub(super) struct Document<'a>(pub(super) &'a Value);

impl Document<'_> {
    /// Returns the query parameters of a GET operation, by name, in the order of the document.
    pub(super) fn parameters(&self, path: &str) -> Map<String, Value> {
        let parameters = self.0["paths"][path]["get"]["parameters"].as_array().expect("the operation has parameters");
        let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        in_query
            .map(|parameter| {
                let name = parameter["name"].as_str().expect("a parameter has a name").to_owned();
                let mut schema = self.inlined(&parameter["schema"]);
                schema["description"] = one_line(&parameter["description"]);
                (name, schema)
            })
            .collect()
    }

    /// Returns a parameter's schema, with the enumerations that it refers to.
    fn inlined(&self, schema: &Value) -> Value {
        if let Some(name) = referred(schema) {
            return self.inlined(&self.0["components"]["schemas"][name]);
        }
        let mut inlined = convert(schema, &mut Vec::new());
        if schema["items"].is_object() {
            inlined["items"] = self.inlined(&schema["items"]);
        }
        inlined
    }
}

/// Schemas of a result, which refer to each other.
pub(super) struct Definitions<'a> {
    components: &'a Value,
    defined: Map<String, Value>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(document: &'a Document<'_>) -> Self {
        Self { components: &document.0["components"]["schemas"], defined: Map::new() }
    }

    /// Defines a schema of the document and all that it refers to. Returns a reference to it. Of an object only the
    /// `fields` are defined, if some are given.
    pub(super) fn refer(&mut self, name: &str, fields: Option<&[&str]>) -> Value {
        if !self.defined.contains_key(name) {
            let mut schema = self.components[name].clone();
            assert!(schema.is_object(), "the document has the schema {name}");
            if let Some(fields) = fields {
                let properties = schema["properties"].as_object_mut().expect("an object has properties");
                for field in fields {
                    assert!(properties.contains_key(*field), "{name} has the field {field}");
                }
                properties.retain(|field, _| fields.contains(&field.as_str()));
            }
            let mut referred = Vec::new();
            let converted = convert(&schema, &mut referred);
            self.defined.insert(name.to_owned(), converted);
            for other in referred {
                self.refer(&other, None);
            }
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// Returns the schema of a field of an object of the document.
    pub(super) fn field(&mut self, object: &str, field: &str) -> Value {
        let mut referred = Vec::new();
        let schema = convert(&self.components[object]["properties"][field], &mut referred);
        for other in referred {
            self.refer(&other, None);
        }
        schema
    }

    /// Returns the names of the fields of an object of the document.
    pub(super) fn field_names(&self, object: &str) -> Vec<String> {
        let properties = self.components[object]["properties"].as_object().expect("an object has properties");
        properties.keys().cloned().collect()
    }

    /// Returns the schema of an object with these fields; `required` are always there.
    pub(super) fn object(self, properties: &Map<String, Value>, required: &[&str]) -> Value {
        json!({ "type": "object", "properties": properties, "required": required, "$defs": self.defined })
    }
}

/// Returns the name of the schema that this one refers to.
fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(COMPONENTS)
}

/// Returns true if a field with this schema may be null, and is therefore left out of a result.
fn is_nullable(schema: &Value) -> bool {
    schema["nullable"] == true || referred(schema).is_some_and(|name| name.starts_with("Nullable"))
}

/// Converts a schema. Adds the names of the schemas that it refers to.
fn convert(schema: &Value, found: &mut Vec<String>) -> Value {
    if let Some(name) = referred(schema) {
        found.push(name.to_owned());
        return json!({ "$ref": format!("#/$defs/{name}") });
    }
    let Some(schema) = schema.as_object() else { return json!({}) };
    let mut converted = Map::new();
    for (keyword, value) in schema {
        let value = match keyword.as_str() {
            "description" => one_line(value),
            "enum" => value.as_array().into_iter().flatten().filter(|value| !value.is_null()).cloned().collect(),
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                properties.map(|(name, schema)| (name.clone(), convert(schema, found))).collect::<Map<_, _>>().into()
            }
            "items" => convert(value, found),
            "allOf" => value.as_array().into_iter().flatten().map(|part| convert(part, found)).collect(),
            "required" => {
                let is_always_there = |name: &&Value| {
                    let field = name.as_str().and_then(|name| schema.get("properties")?.get(name));
                    field.is_some_and(|field| !is_nullable(field))
                };
                value.as_array().into_iter().flatten().filter(is_always_there).cloned().collect()
            }
            "format" if value == "date-time" => value.clone(),
            keyword if KEYWORDS.contains(&keyword) => value.clone(),
            _ => continue,
        };
        converted.insert(keyword.clone(), value);
    }
    converted.into()
}

/// Returns a description on one line.
fn one_line(description: &Value) -> Value {
    description.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nullable_field_becomes_an_optional_one() {
        let document = json!({ "components": { "schemas": {
            "A": {
                "type": "object",
                "title": "A",
                "required": ["id", "kind", "name", "b"],
                "properties": {
                    "id": { "type": "integer", "format": "int64", "example": 7 },
                    "kind": { "$ref": "#/components/schemas/NullableKind" },
                    "name": { "type": "string", "nullable": true, "description": "Its\nname." },
                    "b": { "allOf": [{ "$ref": "#/components/schemas/B" }] },
                    "left_out": { "type": "string" },
                },
            },
            "B": { "type": "object", "properties": { "at": { "type": "string", "format": "date-time" } } },
            "NullableKind": { "type": "string", "nullable": true, "enum": ["x", null] },
        } } });
        let document = Document(&document);
        let mut definitions = Definitions::new(&document);
        let a = definitions.refer("A", Some(&["id", "kind", "name", "b"]));
        let schema = definitions.object(&[("a".to_owned(), a)].into_iter().collect(), &["a"]);
        let wanted = json!({
            "type": "object",
            "properties": { "a": { "$ref": "#/$defs/A" } },
            "required": ["a"],
            "$defs": {
                "A": {
                    "type": "object",
                    "required": ["id", "b"],
                    "properties": {
                        "id": { "type": "integer" },
                        "kind": { "$ref": "#/$defs/NullableKind" },
                        "name": { "type": "string", "description": "Its name." },
                        "b": { "allOf": [{ "$ref": "#/$defs/B" }] },
                    },
                },
                "B": { "type": "object", "properties": { "at": { "type": "string", "format": "date-time" } } },
                "NullableKind": { "type": "string", "enum": ["x"] },
            },
        });
        assert_eq!(schema, wanted);
    }
}
