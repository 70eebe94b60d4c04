//! A client of a running service, for commands.

use super::args::access::api_tokens;
use super::args::database::DatabaseArgs;
use super::args::secrets::{ApiTokenSecret, ReadBy, SecretKind, Secrets};
use super::args::token_file;
use crate::domain::{is_loopback_url, shown_url};
use crate::elevenlabs::client::{PlainHttp, parse_base_url};
use crate::secret::Secret;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// Returns the value of the `Authorization` header for the first of these tokens, if there is one.
pub(super) fn bearer<K: SecretKind, U: ReadBy>(tokens: &Secrets<K, U>) -> Result<Option<String>> {
    Ok(tokens.read()?.first().map(header))
}

fn header(token: &Secret) -> String {
    format!("Bearer {}", token.expose())
}

/// Returns the value of the `Authorization` header for the API token: the configured one, or else the one in the token
/// file beside the database.
pub(super) fn api_token<U: ReadBy>(
    secrets: &Secrets<ApiTokenSecret, U>,
    database: &DatabaseArgs,
    url: &str,
) -> Result<Option<String>> {
    if !secrets.is_empty() {
        let tokens = api_tokens(secrets)?;
        return Ok(token_file::manager(&tokens).or(tokens.first()).map(|token| header(&token.secret)));
    }
    // The token of the token file is only sent where no other host can read it.
    if parse_base_url(url, PlainHttp::OnLoopback).is_err() {
        return Ok(None);
    }
    let path = token_file::path(&database.database);
    match token_file::read(&path) {
        Ok(tokens) => Ok(tokens.and_then(|tokens| token_file::manager(&tokens).map(|token| header(&token.secret)))),
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "cannot use the token file");
            Ok(None)
        }
    }
}

/// A running service.
pub(super) struct ServiceClient {
    agent: ureq::Agent,
    url: String,
    /// Value of the `Authorization` header.
    authorization: Option<String>,
}

impl ServiceClient {
    pub(super) fn new(url: &str, authorization: Option<String>) -> Self {
        let agent = ureq::Agent::config_builder()
            // A proxy must not see the token on its way to this machine.
            .proxy(if is_loopback_url(url) { None } else { ureq::Proxy::try_from_env() })
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        Self { agent, url: url.trim_end_matches('/').to_owned(), authorization }
    }

    /// Returns the URL of the service or of a path below it, as it may be shown.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}{path}", shown_url(&self.url))
    }

    /// Adds the API token to a request, if there is one.
    fn authorize<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    /// Reads a resource of the API.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let request = self.authorize(self.agent.get(format!("{}{path}", self.url)));
        check_response(request.call(), 200).with_context(|| format!("GET {}", self.shown(path)))
    }

    /// Posts an empty body to a path of the API, and returns the response's body if the status is the expected one.
    pub(super) fn post_empty(&self, path: &str, status: u16) -> Result<Value> {
        let headers: Vec<_> = self.authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        self.post(path, &headers, "", status)
    }

    /// Deletes a resource, which need not exist.
    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let request = self.authorize(self.agent.delete(format!("{}{path}", self.url)));
        let answer = request.call().with_context(|| format!("DELETE {}", self.shown(path)))?;
        let status = answer.status();
        ensure!(status.is_success() || status == 404, "DELETE {}: responded {status}", self.shown(path));
        Ok(())
    }

    /// Posts a body with these headers only, and returns the response's body if the status is the expected one.
    pub(super) fn post(&self, path: &str, headers: &[(&str, &str)], body: &str, status: u16) -> Result<Value> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check_response(request.send(body), status).with_context(|| format!("POST {}", self.shown(path)))
    }
}

/// Returns the body of a response with the expected status, or the error of the service.
fn check_response(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, status: u16) -> Result<Value> {
    let mut answer = answer.context("the service does not answer")?;
    let text = answer.body_mut().read_to_string()?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let said = |field: &str| body[field].as_str().unwrap_or_default();
    let given = answer.status();
    ensure!(given == status, "responded {given}: {} ({})", said("message"), said("details"));
    Ok(body)
}
