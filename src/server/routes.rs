//! Known paths, read from the service's own OpenAPI document. They supply the `Allow` header of a 405, the route in the
//! log (without the ids in the path), and the rules of query parameters.

use serde_json::Value;
use std::collections::HashMap;

/// All known paths.
pub(super) struct Routes(Vec<KnownRoute>);

/// A known path with its template, such as `/api/v1/calls/{conversation_id}`.
pub(super) struct KnownRoute {
    pub(super) template: String,
    /// Value of the `Allow` header.
    pub(super) methods: String,
    /// Rule of each query parameter.
    rules: HashMap<String, String>,
}

impl KnownRoute {
    /// Returns the rule of a query parameter, in words that follow its name.
    pub(super) fn rule(&self, parameter: &str) -> Option<&str> {
        self.rules.get(parameter).map(String::as_str)
    }
}

impl Routes {
    /// Returns the paths of an OpenAPI document, and `others`, which support only GET.
    pub(super) fn from_document(document: &str, others: &[&str]) -> Self {
        let document: &Value = &serde_json::from_str(document).expect("the generated document is JSON");
        let paths = document["paths"].as_object().expect("the generated document has paths");
        let documented = paths.iter().map(|(template, operations)| {
            let operations = operations.as_object().expect("a path has operations");
            let parameters = operations.values().filter_map(|operation| operation["parameters"].as_array()).flatten();
            let rules = parameters
                .filter_map(|parameter| Some((parameter["name"].as_str()?.to_owned(), rule(document, parameter))));
            KnownRoute {
                template: template.clone(),
                methods: allow(operations.keys().map(|method| method.to_uppercase()).collect()),
                rules: rules.collect(),
            }
        });
        Self(documented.chain(Self::read_only(others).0).collect())
    }

    /// Returns paths that support only GET and are not in the document.
    pub(super) fn read_only(paths: &[&str]) -> Self {
        let known = |path: &&str| KnownRoute {
            template: (*path).to_owned(),
            methods: allow(vec!["GET".to_owned()]),
            rules: HashMap::new(),
        };
        Self(paths.iter().map(known).collect())
    }

    /// Adds a path that supports only POST and is not in the document.
    pub(super) fn with_post(mut self, path: &str) -> Self {
        self.0.push(KnownRoute { template: path.to_owned(), methods: "POST".to_owned(), rules: HashMap::new() });
        self
    }

    /// Returns the known path that matches a request's path.
    pub(super) fn find(&self, path: &str) -> Option<&KnownRoute> {
        self.0.iter().find(|known| fits(&known.template, path))
    }
}

fn fits(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all_fit = template.split('/').all(|wanted| {
        segments.next().is_some_and(|segment| wanted == segment || (wanted.starts_with('{') && !segment.is_empty()))
    });
    all_fit && segments.next().is_none()
}

fn allow(mut methods: Vec<String>) -> String {
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    methods.sort();
    methods.join(", ")
}

/// Describes a parameter's schema as a rule.
fn rule(document: &Value, parameter: &Value) -> String {
    let mut schema = &parameter["schema"];
    if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        schema = document.pointer(pointer).unwrap_or(&Value::Null);
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
        return format!("must be one of {}", words.join(", "));
    }
    let number = |name: &str| schema[name].as_f64();
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("boolean"), _) => "must be true or false".to_owned(),
        (Some("integer"), _) => match (number("minimum"), number("maximum")) {
            (Some(min), Some(max)) => format!("must be an integer from {min} to {max}"),
            (Some(min), None) => format!("must be an integer, {min} or greater"),
            _ => "must be an integer".to_owned(),
        },
        (_, Some("date-time")) => "must be an ISO 8601 date and time, for example 2026-09-28T12:00:05.25Z, or a date, \
                                   for example 2026-09-28; write + as %2B"
            .to_owned(),
        _ => match (number("minLength"), number("maxLength")) {
            (Some(min), Some(max)) => format!("must be {min} to {max} characters long"),
            _ => "is invalid".to_owned(),
        },
    }
}
