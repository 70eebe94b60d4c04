//! Settings of an ElevenLabs workspace that decide what reaches this service: its webhooks, which of them gets the
//! post-call events, and the agents that differ.
//!
//! Read by the field names of ElevenLabs' SDK. A field that is missing or of another type counts as unknown.

use super::client::{Client, ClientError, Method};
use serde_json::{Value, json};

/// Maximum number of agents whose settings are read. Each costs a request.
const MAX_AGENTS: usize = 200;

/// Maximum number of pages of agents that are read, archived ones included.
const MAX_PAGES: usize = 50;

/// A webhook of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceWebhook {
    /// ElevenLabs' id.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Address.
    pub url: String,
    /// True if somebody switched it off.
    pub is_disabled: bool,
    /// True if ElevenLabs switched it off after failures.
    pub is_auto_disabled: bool,
    /// True if failed deliveries are retried; `None` if ElevenLabs does not say.
    pub retries: Option<bool>,
    /// Status of the last failed delivery.
    pub last_failure_status: Option<i64>,
    /// Time of the last failed delivery, in seconds since 1970.
    pub last_failure_at: Option<i64>,
}

/// Settings of the post-call events, of the workspace or of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostCallSettings {
    /// Webhook that gets the events.
    pub webhook_id: Option<String>,
    /// Types of events; `None` if ElevenLabs does not say.
    pub events: Option<Vec<String>>,
    /// Format of transcripts: `json` or `opentelemetry`.
    pub transcript_format: Option<String>,
    /// True if transcripts are left out.
    pub excludes_transcript: bool,
}

/// An agent with post-call settings of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// ElevenLabs' id of the agent.
    pub agent_id: String,
    /// Name of the agent.
    pub name: String,
    /// Its settings, which replace those of the workspace.
    pub post_call: PostCallSettings,
}

/// The settings of a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workspace {
    /// The webhooks.
    pub webhooks: Vec<WorkspaceWebhook>,
    /// Settings of the post-call events.
    pub post_call: PostCallSettings,
    /// Agents with settings of their own.
    pub agents: Vec<AgentSettings>,
    /// True if there are more agents than were read.
    pub has_more_agents: bool,
    /// Address of the initiation webhook.
    pub initiation_url: Option<String>,
}

impl Workspace {
    /// Reads the settings.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn read(client: &Client) -> Result<Self, ClientError> {
        let listed = client.read("/v1/workspace/webhooks?include_usages=true")?;
        let webhooks = listed["webhooks"].as_array().ok_or(ClientError::Malformed("no field webhooks"))?;
        let settings = client.read("/v1/convai/settings")?;
        let mut workspace = Self {
            webhooks: webhooks.iter().filter_map(webhook).collect(),
            post_call: post_call(&settings["webhooks"]),
            initiation_url: text(&settings["conversation_initiation_client_data_webhook"]["url"]),
            ..Self::default()
        };
        workspace.read_agents(client)?;
        Ok(workspace)
    }

    fn read_agents(&mut self, client: &Client) -> Result<(), ClientError> {
        let mut cursor: Option<String> = None;
        let mut read = 0;
        for _ in 0..MAX_PAGES {
            let page = client.read_page("/v1/convai/agents", cursor.as_deref())?;
            let agents = page["agents"].as_array().ok_or(ClientError::Malformed("no field agents"))?;
            for listed in agents {
                let Some(agent_id) = text(&listed["agent_id"]) else { continue };
                if listed["archived"] == true {
                    continue;
                }
                if read == MAX_AGENTS {
                    self.has_more_agents = true;
                    return Ok(());
                }
                read += 1;
                let agent = match client.read(&format!("/v1/convai/agents/{}", super::client::escaped(&agent_id))) {
                    // It was deleted meanwhile.
                    Err(ClientError::NotFound) => continue,
                    agent => agent?,
                };
                let own = &agent["platform_settings"]["workspace_overrides"]["webhooks"];
                if own["post_call_webhook_id"].is_string() {
                    let name = text(&listed["name"]).unwrap_or_default();
                    self.agents.push(AgentSettings { agent_id, name, post_call: post_call(own) });
                }
            }
            let next = text(&page["next_cursor"]).filter(|_| page["has_more"] == true);
            if next.is_none() || next == cursor {
                return Ok(());
            }
            cursor = next;
        }
        self.has_more_agents = true;
        Ok(())
    }

    /// Returns a webhook by its id.
    pub fn webhook(&self, id: &str) -> Option<&WorkspaceWebhook> {
        self.webhooks.iter().find(|webhook| webhook.id == id)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn webhook(listed: &Value) -> Option<WorkspaceWebhook> {
    Some(WorkspaceWebhook {
        id: text(&listed["webhook_id"])?,
        name: text(&listed["name"]).unwrap_or_default(),
        url: text(&listed["webhook_url"]).unwrap_or_default(),
        is_disabled: listed["is_disabled"] == true,
        is_auto_disabled: listed["is_auto_disabled"] == true,
        retries: listed["retry_enabled"].as_bool(),
        last_failure_status: listed["most_recent_failure_error_code"].as_i64(),
        last_failure_at: listed["most_recent_failure_timestamp"].as_i64(),
    })
}

fn post_call(settings: &Value) -> PostCallSettings {
    let events = settings["events"].as_array();
    PostCallSettings {
        webhook_id: text(&settings["post_call_webhook_id"]),
        events: events.map(|events| events.iter().filter_map(text).collect()),
        transcript_format: text(&settings["transcript_format"]),
        excludes_transcript: settings["exclude_transcript"] == true,
    }
}

/// A webhook that was created.
#[derive(Debug)]
pub struct CreatedWebhook {
    /// ElevenLabs' id.
    pub id: String,
    /// The signing secret, which ElevenLabs returns only once.
    pub secret: String,
}

/// Creates a webhook with a signing secret.
///
/// # Errors
/// See [`ClientError`]. It is not retried, because that could create two.
pub fn create_webhook(client: &Client, name: &str, url: &str) -> Result<CreatedWebhook, ClientError> {
    let body = json!({"settings": {"auth_type": "hmac", "name": name, "webhook_url": url}});
    let created = client.change(Method::Post, "/v1/workspace/webhooks", &body)?;
    let field = |name: &str| text(&created[name]);
    match (field("webhook_id"), field("webhook_secret")) {
        (Some(_), Some(secret)) if !secret.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(ClientError::Malformed("webhook_secret is not one word of visible ASCII"))
        }
        (Some(id), Some(secret)) => Ok(CreatedWebhook { id, secret }),
        _ => Err(ClientError::Malformed("no field webhook_id or webhook_secret")),
    }
}

/// Switches a webhook and its retries on.
///
/// # Errors
/// See [`ClientError`].
pub fn enable_webhook(client: &Client, id: &str, name: &str) -> Result<(), ClientError> {
    let body = json!({"is_disabled": false, "name": name, "retry_enabled": true});
    let path = format!("/v1/workspace/webhooks/{}", super::client::escaped(id));
    client.change(Method::Patch, &path, &body).map(drop)
}

/// Sets the post-call events of the workspace.
///
/// # Errors
/// See [`ClientError`].
pub fn set_post_call(client: &Client, settings: &PostCallSettings) -> Result<(), ClientError> {
    let body = json!({"webhooks": {
        "post_call_webhook_id": settings.webhook_id, "events": settings.events,
        "transcript_format": settings.transcript_format, "exclude_transcript": settings.excludes_transcript,
    }});
    client.change(Method::Patch, "/v1/convai/settings", &body).map(drop)
}
