//! Alerts in the store: searches that are compared with each new turn.

use crate::domain::{ConversationId, SearchExpr};
use serde::{Deserialize, Serialize};

/// A search with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Name.
    pub name: String,
    /// The search.
    pub wanted: SearchExpr,
}

/// A turn that matched an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertMatch {
    /// Call of the turn.
    pub conversation_id: ConversationId,
    /// Id of the turn.
    pub transcription_id: i64,
    /// Name of the alert.
    pub name: String,
}

/// The result of comparing some turns with alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertScan {
    /// The matches, in the order of the turns; each alert once a call.
    pub matches: Vec<AlertMatch>,
    /// Id of the last turn that was compared, or the one that the scan began after.
    pub until: i64,
    /// True if more turns follow.
    pub has_more: bool,
}
