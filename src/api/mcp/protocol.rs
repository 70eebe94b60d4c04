//! Revisions of the protocol, and the metadata by which a request says which one it uses.
//!
//! Since 2026-07-28 each request has its own version, in its body and in headers. Before, a client begins with
//! `initialize`, and later requests have the version in a header only. Both kinds are served side by side.

use super::jsonrpc::{Request, RpcError, shown};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The current revision.
pub(super) const CURRENT: &str = "2026-07-28";

/// The newest revision that begins with `initialize`.
pub(super) const NEWEST_WITH_HANDSHAKE: &str = "2025-11-25";

/// All supported revisions, newest first.
pub(super) const SUPPORTED: &[&str] = &[CURRENT, NEWEST_WITH_HANDSHAKE, "2025-06-18"];

/// Key of the version in a request's metadata.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// Key of the client's capabilities in a request's metadata.
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// The form of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// Each request has its own version.
    Stateless,
    /// The connection began with `initialize`.
    Handshake,
}

/// The headers of the protocol in an HTTP request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProtocolHeaders<'a> {
    /// `MCP-Protocol-Version`
    pub(super) version: Option<&'a [u8]>,
    /// `Mcp-Method`
    pub(super) method: Option<&'a [u8]>,
    /// `Mcp-Name`
    pub(super) name: Option<&'a [u8]>,
}

/// Checks a request's version, metadata and headers, and returns its form. Over standard input there are no headers.
pub(super) fn era(request: &Request, headers: Option<ProtocolHeaders<'_>>) -> Result<Era, RpcError> {
    let meta = request.params.get("_meta");
    let version = meta.and_then(|meta| meta.get(VERSION_KEY));
    let Some(version) = version else { return without_version(headers) };
    let Some(version) = version.as_str() else {
        return Err(RpcError::Params(format!("{VERSION_KEY} must be a string")));
    };
    if let Some(headers) = headers {
        expect_header("MCP-Protocol-Version", headers.version.map(<[u8]>::to_vec), version)?;
    }
    if !SUPPORTED.contains(&version) {
        return Err(unsupported(version));
    }
    if version != CURRENT {
        return Ok(Era::Handshake);
    }
    if !meta.and_then(|meta| meta.get(CAPABILITIES_KEY)).is_some_and(Value::is_object) {
        return Err(RpcError::Params(format!("_meta must have {CAPABILITIES_KEY}, an object")));
    }
    if let Some(headers) = headers {
        expect_header("Mcp-Method", headers.method.map(<[u8]>::to_vec), &request.method)?;
        if request.method == "tools/call" {
            if let Some(name) = request.params.get("name").and_then(Value::as_str) {
                expect_header("Mcp-Name", headers.name.and_then(decode), name)?;
            }
        }
    }
    Ok(Era::Stateless)
}

/// Returns the form of a request whose body has no version.
fn without_version(headers: Option<ProtocolHeaders<'_>>) -> Result<Era, RpcError> {
    // Clients of the revisions before 2025-06-18 send no header.
    let Some(version) = headers.and_then(|headers| headers.version) else { return Ok(Era::Handshake) };
    let version = String::from_utf8_lossy(version);
    match &*version {
        CURRENT => Err(RpcError::Params(format!("_meta must have {VERSION_KEY}"))),
        version if SUPPORTED.contains(&version) => Ok(Era::Handshake),
        other => Err(unsupported(other)),
    }
}

fn unsupported(version: &str) -> RpcError {
    RpcError::UnsupportedVersion { requested: shown(version), supported: SUPPORTED }
}

/// Checks that a header has the value that the body has.
fn expect_header(name: &str, value: Option<Vec<u8>>, in_body: &str) -> Result<(), RpcError> {
    match value {
        Some(value) if value == in_body.as_bytes() => Ok(()),
        Some(_) => Err(RpcError::HeaderMismatch(format!("{name} differs from the body"))),
        None => Err(RpcError::HeaderMismatch(format!("{name} is missing or malformed"))),
    }
}

/// Decodes a header value. One that is not plain ASCII is sent as base64 between `=?base64?` and `?=`.
fn decode(value: &[u8]) -> Option<Vec<u8>> {
    match value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?=")) {
        Some(encoded) => STANDARD.decode(encoded).ok(),
        None => Some(value.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(meta: &Value) -> Request {
        let params = json!({ "name": "get_call", "_meta": meta });
        Request { id: 1.into(), method: "tools/call".to_owned(), params: params.as_object().unwrap().clone() }
    }

    fn headers(values: [Option<&'static str>; 3]) -> ProtocolHeaders<'static> {
        let [version, method, name] = values.map(|value| value.map(str::as_bytes));
        ProtocolHeaders { version, method, name }
    }

    #[test]
    fn a_request_of_the_current_revision_has_metadata_and_the_same_headers() {
        let meta = json!({ VERSION_KEY: CURRENT, CAPABILITIES_KEY: {} });
        let good = [Some(CURRENT), Some("tools/call"), Some("get_call")];
        let encoded = [Some(CURRENT), Some("tools/call"), Some("=?base64?Z2V0X2NhbGw=?=")];
        assert_eq!(era(&call(&meta), None), Ok(Era::Stateless));
        for values in [good, encoded] {
            assert_eq!(era(&call(&meta), Some(headers(values))), Ok(Era::Stateless), "{values:?}");
        }
        for values in [
            [None, good[1], good[2]],
            [Some("2025-11-25"), good[1], good[2]],
            [good[0], None, good[2]],
            [good[0], Some("tools/list"), good[2]],
            [good[0], good[1], None],
            [good[0], good[1], Some("stats")],
            [good[0], good[1], Some("=?base64?!?=")],
        ] {
            let found = era(&call(&meta), Some(headers(values)));
            assert!(matches!(found, Err(RpcError::HeaderMismatch(_))), "{values:?}: {found:?}");
        }
        for meta in [json!({ VERSION_KEY: CURRENT }), json!({ VERSION_KEY: 7, CAPABILITIES_KEY: {} })] {
            assert!(matches!(era(&call(&meta), None), Err(RpcError::Params(_))), "{meta}");
        }
    }

    #[test]
    fn a_request_of_an_older_revision_has_the_version_in_a_header_or_nowhere() {
        for version in [None, Some("2025-11-25"), Some("2025-06-18")] {
            let found = era(&call(&json!({})), Some(headers([version, None, None])));
            assert_eq!(found, Ok(Era::Handshake), "{version:?}");
        }
        assert_eq!(era(&call(&Value::Null), None), Ok(Era::Handshake));
        for version in ["2024-11-05", "2099-01-01", "", "x"] {
            let found = era(&call(&json!({})), Some(headers([Some(version), None, None])));
            assert!(matches!(found, Err(RpcError::UnsupportedVersion { .. })), "{version:?}: {found:?}");
            let found = era(&call(&json!({ VERSION_KEY: version })), None);
            assert!(matches!(found, Err(RpcError::UnsupportedVersion { .. })), "{version:?}: {found:?}");
        }
        let found = era(&call(&json!({})), Some(headers([Some(CURRENT), None, None])));
        assert!(matches!(found, Err(RpcError::Params(_))), "{found:?}");
    }
}
