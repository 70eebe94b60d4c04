//! MCP over HTTP: one endpoint, each message a POST, each response one JSON object.

use super::protocol::ProtocolHeaders;
use super::server::{MAX_MESSAGE_BYTES, McpServer};
use crate::api::auth::{AccessControl, noted_identity};
use crate::api::body::JsonBody;
use crate::api::request_context;
use crate::domain::{self, Timestamp};
use crate::jobs::access_log::AccessLog;
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};
use poem_openapi::types::Any;
use serde_json::Value;

/// The endpoint of the MCP server. It must be behind a check of the role that reads everything.
pub struct McpEndpoint {
    server: McpServer,
    log: AccessLog,
}

impl McpEndpoint {
    /// Creates the endpoint. It notes what tools access in the access log.
    pub fn new(server: McpServer, access: &AccessControl) -> Self {
        Self { server, log: access.log() }
    }
}

impl Endpoint for McpEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let (request, mut body) = request.split();
        let message = JsonBody::<Any<Value>, MAX_MESSAGE_BYTES>::checked(&request, &mut body).await?;
        let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
        let headers = ProtocolHeaders {
            version: header("mcp-protocol-version"),
            method: header("mcp-method"),
            name: header("mcp-name"),
        };
        let Some(reply) = self.server.execute(&message.bytes, Some(headers)).await else {
            return Ok(StatusCode::ACCEPTED.into());
        };
        if let Some((action, identity)) = reply.accessed.zip(noted_identity(&request)) {
            let conversation_id = request_context::current_conversation();
            self.log.note(domain::Access { at: Timestamp::now(), identity, action, conversation_id });
        }
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Ok(Response::builder().status(status).content_type("application/json").body(reply.body))
    }
}
