//! Repairs of a workspace's settings, from the same facts as the diagnosis.

use super::diagnosis::{POST_CALL_PATH, Wanted, base_of};
use crate::domain::shown_url;
use crate::elevenlabs::workspace::{PostCallSettings, Workspace};

/// A change of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Creates a webhook with this address.
    Create {
        /// The address.
        url: String,
    },
    /// Switches a webhook and its retries on.
    Enable {
        /// ElevenLabs' id of the webhook.
        id: String,
        /// Name of the webhook, which ElevenLabs wants with every change.
        name: String,
    },
    /// Sets the post-call events of the workspace. Without a webhook, those of the webhook that was created before.
    Set(PostCallSettings),
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create { url } => {
                write!(f, "create a webhook with the address {}{POST_CALL_PATH}", shown_url(base_of(url)))
            }
            Self::Enable { name, .. } => write!(f, "switch the webhook {name:?} and its retries on"),
            Self::Set(settings) => {
                let events = settings.events.clone().unwrap_or_default();
                write!(f, "send the events {events:?} of the workspace as JSON with their transcript to the webhook")
            }
        }
    }
}

/// Returns the repairs of a workspace, in order. Creating a webhook needs the public URL. Settings of single agents are
/// left alone, because somebody chose them.
pub fn plan(workspace: &Workspace, wanted: Wanted<'_>) -> Vec<Repair> {
    let settings = &workspace.post_call;
    let is_right = |id: &&String| workspace.webhook(id).is_some_and(|webhook| wanted.is_address(&webhook.url));
    let chosen = settings.webhook_id.as_ref().filter(is_right);
    let there = workspace.webhooks.iter().find(|webhook| wanted.is_address(&webhook.url)).map(|webhook| &webhook.id);
    let webhook_id = chosen.or(there).cloned();
    let mut repairs = Vec::new();
    match webhook_id.as_deref().and_then(|id| workspace.webhook(id)) {
        None => match wanted.public_url {
            None => return Vec::new(),
            Some(public) => repairs.push(Repair::Create { url: format!("{public}{POST_CALL_PATH}") }),
        },
        Some(webhook) if webhook.is_disabled || webhook.is_auto_disabled || webhook.retries != Some(true) => {
            repairs.push(Repair::Enable { id: webhook.id.clone(), name: webhook.name.clone() });
        }
        Some(_) => {}
    }
    let mut events = settings.events.clone().unwrap_or_else(|| vec!["transcript".to_owned()]);
    let needed = ["transcript", "call_initiation_failure", "audio"];
    for name in needed.into_iter().filter(|name| wanted.audio || *name != "audio") {
        if !events.iter().any(|event| event == name) {
            events.push(name.to_owned());
        }
    }
    let repaired = PostCallSettings {
        webhook_id,
        events: Some(events),
        transcript_format: Some("json".to_owned()),
        excludes_transcript: false,
    };
    if repaired != *settings {
        repairs.push(Repair::Set(repaired));
    }
    repairs
}
