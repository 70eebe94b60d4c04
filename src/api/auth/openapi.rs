//! What the document says of access, for every operation by its path's [`Purpose`], so that it cannot differ from what is
//! decided.

use super::super::error::access_responses;
use super::access::{CONVAI, Purpose};
use super::session;
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, MetaSecurityScheme, Registry};
use std::collections::HashMap;

const INGEST_TOKEN: &str = "IngestToken";
const WEBHOOK_TOKEN: &str = "WebhookToken";
const API_TOKEN: &str = "ApiToken";
const API_KEY: &str = "ApiKey";
const SESSION: &str = "Session";

/// Operations with their credentials and refusals.
pub(in crate::api) struct Described<T>(pub(in crate::api) T);

impl<T: OpenApi> OpenApi for Described<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            let purpose = Purpose::of(&path.path);
            let ways: &[&str] = match purpose {
                Purpose::Public | Purpose::Signed | Purpose::NoWebhook => &[],
                // The first stands for showing nothing.
                Purpose::Ingest => &["", INGEST_TOKEN, WEBHOOK_TOKEN],
                Purpose::Manage if path.path.starts_with(CONVAI) => &[API_TOKEN, API_KEY, SESSION],
                Purpose::Manage => &[API_TOKEN, SESSION],
            };
            for operation in &mut path.operations {
                operation.security = ways
                    .iter()
                    .map(|way| {
                        Some(*way).filter(|way| !way.is_empty()).map(|way| (way, Vec::new())).into_iter().collect()
                    })
                    .collect();
                let responses = &mut operation.responses.responses;
                if purpose != Purpose::Public {
                    let documented: Vec<_> = responses.iter().map(|response| response.status).collect();
                    responses.extend(access_responses().into_iter().filter(|more| !documented.contains(&more.status)));
                    responses.sort_by_key(|response| response.status);
                }
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        registry.create_security_scheme(INGEST_TOKEN, bearer("A token of --ingest-token, if the service has any."));
        registry.create_security_scheme(
            WEBHOOK_TOKEN,
            key("header", "X-Webhook-Token", "The same in a header of its own, as tools of agents can send it."),
        );
        registry.create_security_scheme(
            API_TOKEN,
            bearer("A token of --api-token, or the one that the service made: `transcribe-hook token` prints it."),
        );
        registry.create_security_scheme(
            API_KEY,
            key("header", "xi-api-key", "The same where ElevenLabs' SDKs put their API key."),
        );
        registry.create_security_scheme(
            SESSION,
            key(
                "cookie",
                session::COOKIE,
                "What a browser gets for the token by POST /session; on HTTPS with __Host- before the name.",
            ),
        );
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(routes);
    }
}

fn bearer(description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme { ty: "http", scheme: Some("bearer"), ..scheme(description) }
}

fn key(place: &'static str, name: &'static str, description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme { ty: "apiKey", key_in: Some(place), name: Some(name), ..scheme(description) }
}

fn scheme(description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "",
        description: Some(description),
        name: None,
        key_in: None,
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}
