//! The access log: who read, heard, searched, exported or erased calls.

use crate::domain::{Access, AccessAction, ConversationId, Timestamp, UserName};

/// A query of the access log, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLogRequest {
    /// Only accesses to this call.
    pub conversation_id: Option<ConversationId>,
    /// Only accesses by tokens and users with this name.
    pub user: Option<UserName>,
    /// Only accesses of this kind.
    pub action: Option<AccessAction>,
    /// Only accesses at this time or later.
    pub accessed_after: Option<Timestamp>,
    /// Only accesses before this time.
    pub accessed_before: Option<Timestamp>,
    /// Only entries with a lower id.
    pub before: Option<i64>,
    /// Maximum number of entries.
    pub limit: usize,
}

/// An entry of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedAccess {
    /// Id of the entry; later ones are higher.
    pub id: i64,
    /// The access.
    pub access: Access,
}
