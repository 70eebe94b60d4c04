//! The OpenAPI document: it is valid in itself, it is the committed one, the service keeps to it, and the page that
//! shows it loads nothing from elsewhere.

use crate::support::openapi::{COMMITTED, Operation, document, filled, operations, send};
use crate::support::service::{Service, binary, run};
use flate2::read::GzDecoder;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::Read as _;

/// Methods that a client might try.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

#[test]
fn the_committed_document_is_the_generated_one() {
    let generated = run(&["generate", "openapi"]);
    assert!(generated.status.success(), "{generated:?}");
    let generated = String::from_utf8(generated.stdout).expect("text");
    assert!(
        generated == COMMITTED,
        "openapi/transcribe-hook.json is not what the program gives; renew it: \
         cargo run -- generate openapi > openapi/transcribe-hook.json"
    );
}

#[test]
fn the_service_gives_the_committed_document() {
    let answer = Service::start().get("/openapi.json").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.text.trim_end() == COMMITTED.trim_end(), "/openapi.json is not the committed document");
}

#[test]
fn generating_the_document_makes_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let generated = binary().args(["generate", "openapi"]).current_dir(&folder).output().expect("starts");
    assert!(generated.status.success(), "{generated:?}");
    let files: Vec<_> = std::fs::read_dir(&folder).expect("a folder").collect();
    assert!(files.is_empty(), "{files:?}");
}

/// A JSON value whose objects have no duplicate names.
struct NoDuplicates;

impl<'de> Deserialize<'de> for NoDuplicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for NoDuplicates {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some((name, Self)) = entries.next_entry::<String, Self>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("{name} stands twice in one object")));
            }
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

#[test]
fn no_object_of_the_document_has_two_entries_of_one_name() {
    assert!(serde_json::from_str::<NoDuplicates>(r#"{"a": [{"b": 1, "b": 2}]}"#).is_err(), "the check sees doubles");
    if let Err(error) = serde_json::from_str::<NoDuplicates>(COMMITTED) {
        panic!("{error}");
    }
}

#[test]
fn every_operation_has_a_name_a_tag_a_summary_and_its_answers() {
    let document = document();
    let tags: Vec<_> = document["tags"].as_array().expect("tags").iter().map(|tag| tag["name"].clone()).collect();
    let mut names = HashSet::new();
    for Operation { method, path, statuses, details, .. } in operations() {
        let operation = format!("{method} {path}");
        let name = details["operationId"].as_str().unwrap_or_else(|| panic!("{operation} has a name"));
        assert!(names.insert(name.to_owned()), "{name} is the name of two operations");
        let of = details["tags"].as_array().unwrap_or_else(|| panic!("{operation} has tags"));
        assert!(of.len() == 1 && tags.contains(&of[0]), "{operation} has one tag, which is described, not {of:?}");
        assert!(details["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{operation} has a summary");
        assert!(statuses.iter().any(|status| (200..300).contains(status)), "{operation} can succeed");
        assert!(
            ["/healthz", "/session"].contains(&path.as_str()) || statuses.iter().any(|status| *status >= 400),
            "{operation} can fail"
        );
        for (status, response) in details["responses"].as_object().expect("responses") {
            let at = format!("{operation} {status}");
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{at} is described");
            if status.starts_with(['4', '5']) {
                let contents = response["content"].as_object().unwrap_or_else(|| panic!("{at} has a body"));
                assert_eq!(contents.len(), 1, "{at} has one form");
                for content in contents.values() {
                    assert_eq!(content["schema"]["$ref"], "#/components/schemas/ErrorBody", "{at}");
                }
            }
            if status == "503" {
                assert_eq!(response["headers"]["Retry-After"]["required"], true, "{at} says when to try again");
            }
        }
        for parameter in details["parameters"].as_array().into_iter().flatten() {
            let described = parameter["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "{operation}: {parameter} is described");
        }
    }
}

/// Calls `visit` with every value in `value`, itself included.
fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(entries) => entries.values().for_each(|entry| walk(entry, visit)),
        _ => {}
    }
}

/// The texts of all references.
fn references(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(value, &mut |value| found.extend(value["$ref"].as_str().map(str::to_owned)));
    found
}

#[test]
fn every_reference_leads_to_something() {
    let document = document();
    let references = references(&document);
    assert!(references.contains("#/components/schemas/ErrorBody"), "references are found");
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for schema in document["components"]["schemas"].as_object().expect("schemas").keys() {
        assert!(references.contains(&format!("#/components/schemas/{schema}")), "nothing uses {schema}");
    }
}

#[test]
fn every_object_has_an_example_that_keeps_to_its_schema() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut objects = 0;
    for (name, schema) in schemas.iter().filter(|(_, schema)| schema["type"] == "object") {
        objects += 1;
        let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{name} has properties"));
        let Some(example) = schema.get("example") else {
            for (property, schema) in properties {
                assert!(schema.get("example").is_some(), "neither {name} nor its {property} has an example");
            }
            continue;
        };
        let example = example.as_object().unwrap_or_else(|| panic!("{name} is an object, so is its example"));
        for field in example.keys() {
            assert!(properties.contains_key(field), "the example of {name} has a {field}, which there is not");
        }
        for field in schema["required"].as_array().into_iter().flatten() {
            assert!(example.contains_key(field.as_str().expect("a name")), "the example of {name} lacks {field}");
        }
        for (field, value) in example {
            check_type(&properties[field], value, &document, &format!("the example of {name}, {field}"));
        }
    }
    assert!(objects > 10, "the document has objects");
}

/// Checks a value by its schema's type, null and enumeration.
fn check_type(schema: &Value, value: &Value, document: &Value, at: &str) {
    // A reference with a description of its own stands in an `allOf`.
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    let schema = match reference {
        Some(reference) => document.pointer(&reference[1..]).expect("a reference that leads somewhere"),
        None => schema,
    };
    if value.is_null() {
        assert_eq!(schema["nullable"], true, "{at} is null");
        return;
    }
    // Of any type: what ElevenLabs sends by its variables.
    if schema.get("type").is_none() {
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.as_array().is_some_and(|items| !items.is_empty()),
        Some("object") => value.is_object(),
        other => panic!("{at} has the unexpected type {other:?}"),
    };
    assert!(fits, "{at} is {value}, not of the type {}", schema["type"]);
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at} is {value}, not one of {allowed:?}");
    }
    for item in value.as_array().into_iter().flatten() {
        check_type(&schema["items"], item, document, at);
    }
}

#[test]
fn reading_with_a_parameter_that_there_is_not_is_refused() {
    let service = Service::start();
    for Operation { path, .. } in operations().iter().filter(|operation| operation.method == "GET") {
        // ElevenLabs' own operations are asked by SDKs, which add parameters at will.
        if ["/healthz", "/readyz", "/session"].contains(&path.as_str()) || path.starts_with("/v1/convai/") {
            continue;
        }
        let needed = if path == "/api/v1/search" { "q=reefer&" } else { "" };
        let error = service.get(&format!("{}?{needed}no_such_parameter=1", filled(path))).expect_error(400);
        let details = error["details"].as_str().unwrap_or_default();
        assert!(details.starts_with("no_such_parameter: "), "{path}: {error}");
    }
}

#[test]
fn a_wrong_method_is_answered_with_the_right_ones() {
    let service = Service::start();
    let operations = operations();
    let paths: BTreeSet<_> = operations.iter().map(|operation| operation.path.as_str()).collect();
    for path in paths {
        let documented = operations.iter().filter(|operation| operation.path == path);
        let mut right: BTreeSet<&str> = documented.map(|operation| operation.method.as_str()).collect();
        if right.contains("GET") {
            right.insert("HEAD");
        }
        for method in METHODS.into_iter().filter(|method| !right.contains(method)) {
            let at = format!("{method} {path}");
            let sent = send(&service, method, &filled(path), &[("Content-Type", "application/json")], b"");
            assert_eq!(sent.status, 405, "{at}: {}", sent.text);
            let allowed: BTreeSet<_> = sent.header("allow").unwrap_or_default().split(", ").collect();
            assert_eq!(allowed, right, "{at}: the header Allow");
            if method != "HEAD" {
                let error: Value = serde_json::from_str(&sent.text).unwrap_or_else(|error| panic!("{at}: {error}"));
                let fields: Vec<_> = error.as_object().expect("an object").keys().collect();
                assert_eq!(fields, ["status", "code", "message", "details", "request_id"], "{at}");
            }
        }
        if right.contains("HEAD") {
            // A stream would go on.
            let path = if path.ends_with("/events") { format!("{}?follow=false", filled(path)) } else { filled(path) };
            let head = send(&service, "HEAD", &path, &[], b"");
            let get = send(&service, "GET", &path, &[], b"");
            assert_eq!((head.status, head.text.as_str()), (get.status, ""), "HEAD {path} is GET without the body");
        }
    }
}

/// The page without what stands between these tags, and what stood there.
fn cut_out(page: &str, tag: &str) -> (String, Vec<String>) {
    let (mut rest, mut outside, mut inside) = (page, String::new(), Vec::new());
    while let Some(start) = rest.find(&format!("<{tag}")) {
        let open = start + rest[start..].find('>').expect("a tag ends") + 1;
        let close = open + rest[open..].find(&format!("</{tag}>")).expect("an element ends");
        outside.push_str(&rest[..open]);
        inside.push(rest[open..close].to_owned());
        rest = &rest[close..];
        // The closing tag stays outside, whole, so that the search goes on behind it.
        outside.push_str(&rest[..tag.len() + 3]);
        rest = &rest[tag.len() + 3..];
    }
    outside.push_str(rest);
    (outside, inside)
}

/// Returns the texts that follow each occurrence of `before`, without blanks and quotes.
fn addresses<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(before).map(move |(at, _)| {
        let rest = &text[at + before.len()..];
        rest.trim_start_matches(|c: char| c.is_whitespace() || "\"'=(".contains(c))
    })
}

fn is_elsewhere(address: &str) -> bool {
    let address = address.to_ascii_lowercase();
    ["http:", "https:", "//"].iter().any(|start| address.starts_with(start))
}

/// Returns the addresses of other hosts that a browser would load with the page.
fn loaded_from_elsewhere(page: &str) -> Vec<String> {
    let (page, _) = cut_out(page, "script");
    let (page, styles) = cut_out(&page, "style");
    let mut found = Vec::new();
    let mut look = |text: &str, before: &str| {
        let elsewhere = addresses(text, before).filter(|address| is_elsewhere(address));
        found.extend(elsewhere.map(|address| format!("{before} {}", address.chars().take(80).collect::<String>())));
    };
    for before in ["src", "href", "action", "data", "content", "url(", "@import"] {
        look(&page, before);
    }
    for style in &styles {
        for before in ["url(", "@import", "src"] {
            look(style, before);
        }
    }
    found
}

#[test]
fn the_page_of_the_document_loads_nothing_from_elsewhere() {
    for bad in [
        "<script src=\"https://cdn.example/ui.js\"></script>",
        "<link rel=stylesheet href='//cdn.example/ui.css'>",
        "<style>@import url(\"http://cdn.example/ui.css\");</style>",
        "<style>@font-face { src: url( https://cdn.example/f.woff2 ) }</style>",
    ] {
        assert_ne!(loaded_from_elsewhere(bad), Vec::<String>::new(), "the check sees {bad}");
    }
    let service = Service::start();
    let answer = service.get("/docs").expect(200);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "HTML");
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*'), "{policy} lets nobody else in");
    let (_, scripts) = cut_out(&answer.text, "script");
    assert!(scripts.iter().any(|script| script.len() > 100_000), "the page holds its program");
    assert!(answer.text.contains("url: \"openapi.json\""), "it asks the service for the document");
    assert_eq!(loaded_from_elsewhere(&answer.text), Vec::<String>::new());
    let mut packed = ureq::get(service.url("/docs")).header("accept-encoding", "gzip").call().unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.headers()["vary"], "Accept-Encoding");
    let packed = packed.body_mut().read_to_vec().unwrap();
    assert!(packed.len() < answer.text.len() / 3, "{} of {} bytes", packed.len(), answer.text.len());
    let mut page = String::new();
    GzDecoder::new(&*packed).read_to_string(&mut page).unwrap();
    assert_eq!(page, answer.text);
}
