//! The committed OpenAPI document, and requests to any of its operations.

use crate::support::service::Service;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

pub const COMMITTED: &str = include_str!("../../../openapi/transcribe-hook.json");

/// An answer to a request of any method.
pub struct Sent {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Sent {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("visible ASCII"))
    }
}

/// Sends what a test has as text.
pub fn send(service: &Service, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Sent {
    send_to(&service.url(""), method, target, headers, body)
}

/// Sends text to a service or to a proxy before it; by HTTPS its certificate is not looked at.
pub fn send_to(base: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Sent {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(40)))
        .tls_config(ureq::tls::TlsConfig::builder().disable_verification(true).build())
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{base}{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = if body.is_empty() && !["PATCH", "POST", "PUT"].contains(&method) {
        agent.run(request.body(()).expect("a request"))
    } else {
        agent.run(request.body(body).expect("a request"))
    };
    let mut answer = answer.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
    // A backup is no text, and nobody looks at it here.
    let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec().expect("a body");
    let text = String::from_utf8_lossy(&body).into_owned();
    Sent { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
}

/// An operation of the committed document.
pub struct Operation {
    /// In capitals.
    pub method: String,
    /// The template.
    pub path: String,
    /// All that it may answer, as documented.
    pub statuses: BTreeSet<u16>,
    /// The names of its query parameters.
    pub parameters: Vec<String>,
    pub details: Value,
}

pub fn operations() -> Vec<Operation> {
    let document = document();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, details) in methods.as_object().expect("operations") {
            let statuses = details["responses"].as_object().expect("responses").keys();
            let parameters = details["parameters"].as_array().into_iter().flatten();
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                statuses: statuses.map(|status| status.parse().expect("a status")).collect(),
                parameters: parameters
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| parameter["name"].as_str().expect("a name").to_owned())
                    .collect(),
                details: details.clone(),
            });
        }
    }
    assert!(operations.len() > 10, "the document has operations");
    operations
}

pub fn document() -> Value {
    serde_json::from_str(COMMITTED).expect("the committed document is JSON")
}

/// The template with some values for its parameters.
pub fn filled(template: &str) -> String {
    let fill = |segment: &str| match segment {
        "{id}" => "1042".to_owned(),
        _ if segment.starts_with('{') => "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
        _ => segment.to_owned(),
    };
    template.split('/').map(fill).collect::<Vec<_>>().join("/")
}
