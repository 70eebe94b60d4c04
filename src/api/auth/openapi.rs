//! Security requirements in the OpenAPI document. They are derived from each path's [`RouteAccess`], so they always
//! match the access checks.

use super::super::calls::filter::expand_placeholders;
use super::super::error::{access_responses, role_response};
use super::access::{ELEVENLABS_PREFIX, RouteAccess};
use super::roles::RoleGuard;
use super::session;
use crate::jobs::access_log::AccessLog;
use poem::EndpointExt as _;
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, MetaSecurityScheme, Registry};
use std::collections::HashMap;

const INGEST_TOKEN: &str = "IngestToken";
const WEBHOOK_TOKEN: &str = "WebhookToken";
const API_TOKEN: &str = "ApiToken";
const API_KEY: &str = "ElevenLabsKey";
const SESSION: &str = "Session";

/// Operations with their security requirements and authentication errors. Accesses to calls are noted in the log.
pub(in crate::api) struct Described<T>(pub(in crate::api) T, pub(in crate::api) AccessLog);

impl<T: OpenApi> OpenApi for Described<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            let purpose = RouteAccess::from_path(&path.path);
            let ways: &[&str] = match purpose {
                RouteAccess::Public | RouteAccess::Signed | RouteAccess::NoWebhook => &[],
                // An empty entry means that no credentials are required.
                RouteAccess::Ingest => &["", INGEST_TOKEN, WEBHOOK_TOKEN],
                RouteAccess::Protected if path.path.starts_with(ELEVENLABS_PREFIX) => &[API_TOKEN, API_KEY, SESSION],
                RouteAccess::Protected => &[API_TOKEN, SESSION],
            };
            for operation in &mut path.operations {
                expand_placeholders(&mut operation.params);
                operation.security = ways
                    .iter()
                    .map(|way| {
                        Some(*way).filter(|way| !way.is_empty()).map(|way| (way, Vec::new())).into_iter().collect()
                    })
                    .collect();
                let responses = &mut operation.responses.responses;
                if purpose != RouteAccess::Public {
                    let documented: Vec<_> = responses.iter().map(|response| response.status).collect();
                    let role = (purpose == RouteAccess::Protected).then(role_response);
                    let more = access_responses().into_iter().chain(role);
                    responses.extend(more.filter(|more| !documented.contains(&more.status)));
                    responses.sort_by_key(|response| response.status);
                }
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        registry.create_security_scheme(INGEST_TOKEN, bearer("A token of --ingest-token, if any is configured."));
        registry.create_security_scheme(
            WEBHOOK_TOKEN,
            key("header", "X-Webhook-Token", "The ingest token in a header that agents' tools can send."),
        );
        registry.create_security_scheme(
            API_TOKEN,
            bearer(
                "A token of --api-token, or the generated one, which `transcribe-hook token` prints. It has a role: \
                 `list`, `read` or `manage`. `x-required-role` of an operation is the lowest role that may call it.",
            ),
        );
        registry.create_security_scheme(
            API_KEY,
            key("header", "xi-api-key", "The API token in the header that ElevenLabs' SDKs use for their API key."),
        );
        registry.create_security_scheme(
            SESSION,
            key(
                "cookie",
                session::COOKIE,
                "The session cookie that POST /session sets; on HTTPS its name begins with __Host-.",
            ),
        );
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        let mut own = HashMap::new();
        self.0.add_routes(&mut own);
        let mut names = operation_ids::<T>();
        for (path, endpoints) in own {
            let nameless = without_names(&path);
            let guarded = endpoints.into_iter().map(|(method, endpoint)| {
                if RouteAccess::from_path(&nameless) != RouteAccess::Protected {
                    return (method, endpoint);
                }
                let operation = names.remove(&(nameless.clone(), method.clone()));
                (method, RoleGuard::of_operation(operation, endpoint, self.1.clone()).boxed())
            });
            routes.entry(path).or_default().extend(guarded);
        }
    }
}

/// Returns the ids of operations by their nameless paths and methods.
fn operation_ids<T: OpenApi>() -> HashMap<(String, Method), &'static str> {
    let paths = T::meta().into_iter().flat_map(|api| api.paths);
    let operations =
        paths.flat_map(|path| path.operations.into_iter().map(move |operation| (path.path.clone(), operation)));
    operations
        .filter_map(|(path, operation)| Some(((without_names(&path), operation.method), operation.operation_id?)))
        .collect()
}

/// Returns a path without the names of its parameters, which the router and the document write differently.
fn without_names(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with([':', '{']) { "{}".to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
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
