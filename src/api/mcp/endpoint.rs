//! MCP over HTTP: one endpoint, each message a POST, each response one JSON object.

use super::protocol::ProtocolHeaders;
use super::server::{MAX_MESSAGE_BYTES, McpServer};
use crate::api::body::JsonBody;
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};
use poem_openapi::types::Any;
use serde_json::Value;

/// The endpoint of the MCP server.
pub struct McpEndpoint(pub McpServer);

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
        let Some(reply) = self.0.execute(&message.bytes, Some(headers)).await else {
            return Ok(StatusCode::ACCEPTED.into());
        };
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Ok(Response::builder().status(status).content_type("application/json").body(reply.body))
    }
}
