//! The `webhook` command: shows, tests and retries the outgoing webhooks of a running service.

use super::args::database::DatabaseArgs;
use super::args::secrets::{ApiTokenSecret, ByClient, Secrets};
use super::args::service_url::ServiceUrlArgs;
use super::output::{count, print_line};
use super::service_client::{ServiceClient, api_token};
use super::usage_error::usage;
use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(super) struct WebhookArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the endpoints with what waits for them and what failed
    List(ServiceArgs),
    /// Send a test notice now; exit 1 if it is not accepted
    Test(EndpointArgs),
    /// Send what waits or failed now, also after a 410
    Retry(EndpointArgs),
}

#[derive(Debug, Args)]
struct ServiceArgs {
    #[command(flatten)]
    service: ServiceUrlArgs,
    #[command(flatten)]
    api_tokens: Secrets<ApiTokenSecret, ByClient>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

#[derive(Debug, Args)]
struct EndpointArgs {
    /// Id of an endpoint, as `webhook list` prints it; default: all
    #[arg(value_name = "ENDPOINT")]
    endpoint: Option<String>,
    #[command(flatten)]
    service: ServiceArgs,
}

impl ServiceArgs {
    fn client(&self) -> Result<ServiceClient> {
        let url = self.service.url()?;
        Ok(ServiceClient::new(&url, api_token(&self.api_tokens, &self.database, &url)?))
    }
}

pub(super) fn run(args: &WebhookArgs) -> Result<()> {
    match &args.action {
        Action::List(args) => list(args),
        Action::Test(args) => test(args),
        Action::Retry(args) => retry(args),
    }
}

/// Returns the endpoints of the service.
fn endpoints(client: &ServiceClient) -> Result<Vec<Value>> {
    let mut answer = client.get("/api/v1/webhooks")?;
    match answer["data"].take() {
        Value::Array(endpoints) => Ok(endpoints),
        _ => bail!("the response has no field data"),
    }
}

/// Returns the endpoints that the arguments select.
fn selected(args: &EndpointArgs, client: &ServiceClient) -> Result<Vec<Value>> {
    let mut endpoints = endpoints(client)?;
    if let Some(id) = &args.endpoint {
        endpoints.retain(|endpoint| endpoint["id"] == **id);
    }
    match (&args.endpoint, endpoints.is_empty()) {
        (Some(id), true) => Err(usage(format_args!("no endpoint {id:?}; `webhook list` lists them"))),
        (None, true) => Err(usage("the service has no endpoints; `serve --webhook-url` adds one")),
        _ => Ok(endpoints),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list(args: &ServiceArgs) -> Result<()> {
    let endpoints = endpoints(&args.client()?)?;
    if args.json {
        print_line(json!({ "data": endpoints }))?;
        return Ok(());
    }
    for endpoint in &endpoints {
        let of = |field: &str| text(endpoint, field);
        print_line(format_args!(
            "{}  {}  {}  {} unsent, {} waiting, {} failed, {} s behind",
            of("id"),
            of("url"),
            of("status"),
            endpoint["unsent"],
            endpoint["waiting"],
            endpoint["failed"],
            endpoint["lag_seconds"]
        ))?;
        for failed in endpoint["failed_deliveries"].as_array().into_iter().flatten() {
            let of = |field: &str| text(failed, field);
            let status = failed["last_status"].as_u64().map_or("no answer".to_owned(), |status| status.to_string());
            print_line(format_args!("  failed: {}  {}  {}  {status}", of("at"), of("type"), of("conversation_id")))?;
        }
    }
    Ok(())
}

fn test(args: &EndpointArgs) -> Result<()> {
    let client = args.service.client()?;
    let mut results = Vec::new();
    for endpoint in selected(args, &client)? {
        let id = text(&endpoint, "id");
        let result = client.post_empty(&format!("/api/v1/webhooks/{id}/test"), 200).context("the test was not sent")?;
        if !args.service.json {
            let status = result["status"].as_u64().map(|status| status.to_string());
            let said = status.as_deref().or(result["error"].as_str()).unwrap_or("no answer");
            print_line(format_args!("{id}  {}  {said}  {} ms", text(&endpoint, "url"), result["duration_ms"]))?;
        }
        results.push(json!({"id": id, "result": result}));
    }
    if args.service.json {
        print_line(json!({ "data": results }))?;
    }
    let refused = results.iter().filter(|tested| tested["result"]["delivered"] != true).count();
    ensure!(refused == 0, "{refused} of {} endpoints did not accept the test", results.len());
    Ok(())
}

fn retry(args: &EndpointArgs) -> Result<()> {
    let client = args.service.client()?;
    for endpoint in selected(args, &client)? {
        let id = text(&endpoint, "id");
        client.post_empty(&format!("/api/v1/webhooks/{id}/retry"), 204)?;
        if !args.service.json {
            let due = ["unsent", "waiting", "failed"].iter().filter_map(|field| endpoint[field].as_u64()).sum::<u64>();
            print_line(format_args!("{id}  {}  {} queued", text(&endpoint, "url"), count(due, "notice")))?;
        }
    }
    Ok(())
}
