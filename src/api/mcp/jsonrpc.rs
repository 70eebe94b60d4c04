//! JSON-RPC messages: requests, notifications and errors.

use serde::Serialize;
use serde_json::{Map, Value};

/// A message of a client.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// A request, which gets a response.
    Request(Request),
    /// A notification, or a response to a request that this server never sends. Neither gets a response.
    OneWay,
}

/// A request of a client.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// The client's id of the request: a string or an integer.
    pub(super) id: Value,
    pub(super) method: String,
    pub(super) params: Map<String, Value>,
}

/// A response to a request.
#[derive(Debug, Serialize)]
pub(super) struct Response {
    jsonrpc: &'static str,
    /// Absent if the request's id could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Error(ErrorObject),
}

#[derive(Debug, Serialize)]
struct ErrorObject {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

impl Response {
    pub(super) fn new(id: Option<Value>, outcome: Result<Value, RpcError>) -> Self {
        let outcome = match outcome {
            Ok(result) => Outcome::Result(result),
            Err(error) => {
                let (code, message, data) = (error.code(), error.to_string(), error.data());
                Outcome::Error(ErrorObject { code, message, data })
            }
        };
        Self { jsonrpc: "2.0", id, outcome }
    }
}

/// A reason why a message cannot be executed. A tool that fails is not such an error, but a result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum RpcError {
    /// The body is not JSON.
    #[error("not valid JSON: {0}")]
    NotJson(String),
    /// The JSON is not a request.
    #[error("invalid request: {0}")]
    Invalid(&'static str),
    /// The message is longer than this many bytes.
    #[error("the message must be at most {0} bytes")]
    TooLong(usize),
    /// The server does not have the method.
    #[error("method not found: {0}")]
    UnknownMethod(String),
    /// The parameters of the method are invalid.
    #[error("invalid parameters: {0}")]
    Params(String),
    /// A header differs from the body, or is missing.
    #[error("header mismatch: {0}")]
    HeaderMismatch(String),
    /// The server does not have the requested version of the protocol.
    #[error("unsupported protocol version")]
    UnsupportedVersion {
        /// The version that the client requested.
        requested: String,
        /// The versions of the server.
        supported: &'static [&'static str],
    },
}

impl RpcError {
    /// Returns the code, by JSON-RPC or by MCP.
    fn code(&self) -> i32 {
        match self {
            Self::NotJson(_) => -32700,
            Self::Invalid(_) | Self::TooLong(_) => -32600,
            Self::UnknownMethod(_) => -32601,
            Self::Params(_) => -32602,
            Self::HeaderMismatch(_) => -32020,
            Self::UnsupportedVersion { .. } => -32022,
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::UnsupportedVersion { requested, supported } => {
                Some(serde_json::json!({ "requested": requested, "supported": supported }))
            }
            _ => None,
        }
    }
}

/// Maximum length of a client's text in an error, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// Returns the beginning of a client's text, for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}

/// Parses a message. An error has the id of the request, if it could be read.
pub(super) fn parse(bytes: &[u8]) -> Result<Message, (Option<Value>, RpcError)> {
    let value = serde_json::from_slice(bytes).map_err(|error| (None, RpcError::NotJson(error.to_string())))?;
    let mut fields = match value {
        Value::Object(fields) => fields,
        Value::Array(_) => return Err((None, RpcError::Invalid("send one message at a time, not a batch"))),
        _ => return Err((None, RpcError::Invalid("a message is a JSON object"))),
    };
    let id = fields.remove("id");
    let has_valid_id = id.as_ref().is_none_or(|id| id.is_string() || id.is_i64() || id.is_u64());
    let known_id = id.clone().filter(|_| has_valid_id);
    let invalid = |rule| Err((known_id.clone(), RpcError::Invalid(rule)));
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return invalid("jsonrpc must be \"2.0\"");
    }
    let method = match fields.remove("method") {
        Some(Value::String(method)) => method,
        None if fields.contains_key("result") || fields.contains_key("error") => return Ok(Message::OneWay),
        _ => return invalid("method must be a string"),
    };
    if !has_valid_id {
        return invalid("id must be a string or an integer");
    }
    let params = match fields.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return invalid("params must be an object"),
    };
    Ok(match id {
        None => Message::OneWay,
        Some(id) => Message::Request(Request { id, method, params }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_is_one_request_or_notification() {
        let request = |id: Value| Ok(Message::Request(Request { id, method: "ping".to_owned(), params: Map::new() }));
        for id in [json!("a"), json!(""), json!(0), json!(-1), json!(u64::MAX), json!("\u{1F69A}")] {
            let body = json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
            assert_eq!(parse(body.to_string().as_bytes()), request(id), "{body}");
        }
        for body in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
        ] {
            assert_eq!(parse(body.as_bytes()), Ok(Message::OneWay), "{body}");
        }
    }

    #[test]
    fn anything_else_is_an_error_with_the_id_if_it_has_one() {
        for (body, id, code) in [
            ("", None, -32700),
            ("{", None, -32700),
            ("\u{feff}{}", None, -32700),
            (r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#, None, -32700),
            ("[]", None, -32600),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, None, -32600),
            ("7", None, -32600),
            (r#"{"id":1,"method":"ping"}"#, Some(json!(1)), -32600),
            (r#"{"jsonrpc":2.0,"id":"a","method":"ping"}"#, Some(json!("a")), -32600),
            (r#"{"jsonrpc":"2.0","id":1}"#, Some(json!(1)), -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":[]}"#, Some(json!(1)), -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, Some(json!(1)), -32600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None, -32600),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None, -32600),
            (r#"{"jsonrpc":"2.0","id":1e400,"method":"ping"}"#, None, -32700),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, None, -32600),
            (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, None, -32600),
        ] {
            let (found, error) = parse(body.as_bytes()).expect_err(body);
            assert_eq!((found, error.code()), (id, code), "{body}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes()), Err((None, RpcError::NotJson(_)))));
    }
}
