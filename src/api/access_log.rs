//! The access log: who read, heard, searched, exported or erased which call.

use super::auth::ApiRole;
use super::date_time::DateTime;
use super::error::{ApiError, Errors, ListErrors};
use super::pagination::{ListQuery, default_limit};
use super::reader::{Answer, Depth, PageRead, Reader};
use super::tag::Tag;
use crate::domain::{self, ConversationId, Timestamp, UserName};
use crate::store::{AccessLogRequest, LoggedAccess, Reads};
use poem::Request;
use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

pub(super) struct AccessLogApi {
    pub(super) reader: Reader,
}

/// Action of an access.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum AccessAction {
    /// Listed calls with their titles, summaries and last words.
    List,
    /// Read a call, or followed all calls live.
    Read,
    /// Listened to a recording, or downloaded it.
    Listen,
    /// Searched for words.
    Search,
    /// Exported calls.
    Export,
    /// Downloaded a backup.
    Backup,
    /// Erased a call.
    Erase,
}

impl From<domain::AccessAction> for AccessAction {
    fn from(action: domain::AccessAction) -> Self {
        match action {
            domain::AccessAction::List => Self::List,
            domain::AccessAction::Read => Self::Read,
            domain::AccessAction::Listen => Self::Listen,
            domain::AccessAction::Search => Self::Search,
            domain::AccessAction::Export => Self::Export,
            domain::AccessAction::Backup => Self::Backup,
            domain::AccessAction::Erase => Self::Erase,
        }
    }
}

impl From<AccessAction> for domain::AccessAction {
    fn from(action: AccessAction) -> Self {
        match action {
            AccessAction::List => Self::List,
            AccessAction::Read => Self::Read,
            AccessAction::Listen => Self::Listen,
            AccessAction::Search => Self::Search,
            AccessAction::Export => Self::Export,
            AccessAction::Backup => Self::Backup,
            AccessAction::Erase => Self::Erase,
        }
    }
}

/// The proof of who accessed calls.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum Credential {
    /// A token.
    Token,
    /// The session of a browser that signed in with a token.
    Session,
    /// The user header of a trusted proxy.
    Proxy,
    /// Nothing.
    None,
}

impl From<domain::Credential> for Credential {
    fn from(credential: domain::Credential) -> Self {
        match credential {
            domain::Credential::Token => Self::Token,
            domain::Credential::Session => Self::Session,
            domain::Credential::Proxy => Self::Proxy,
            domain::Credential::None => Self::None,
        }
    }
}

/// An access to calls.
#[derive(Debug, Object)]
#[oai(example, rename = "Access")]
struct AccessObject {
    /// Number of the entry. Later ones are higher.
    id: i64,
    /// Time of the access.
    at: DateTime,
    /// Name of the token or user; null for a token without a name.
    #[oai(nullable)]
    user: Option<String>,
    role: ApiRole,
    credential: Credential,
    action: AccessAction,
    /// ElevenLabs' id of the call, which may have been erased since; null for an access to several calls.
    #[oai(nullable)]
    conversation_id: Option<String>,
}

impl From<LoggedAccess> for AccessObject {
    fn from(LoggedAccess { id, access }: LoggedAccess) -> Self {
        Self {
            id,
            at: DateTime(access.at),
            user: access.identity.name.map(|name| name.as_str().to_owned()),
            role: access.identity.role.into(),
            credential: access.identity.credential.into(),
            action: access.action.into(),
            conversation_id: access.conversation_id.map(|id| id.as_str().to_owned()),
        }
    }
}

impl Example for AccessObject {
    fn example() -> Self {
        Self {
            id: 31,
            at: DateTime(Timestamp::parse("2026-09-28T14:10:00.125Z").expect("a valid time")),
            user: Some("anna".to_owned()),
            role: ApiRole::Read,
            credential: Credential::Session,
            action: AccessAction::Listen,
            conversation_id: Some("conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned()),
        }
    }
}

/// A page of the access log.
#[derive(Debug, Object)]
#[oai(example)]
struct AccessPage {
    /// Accesses of this page, newest first.
    data: Vec<AccessObject>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page follows.
    has_more: bool,
}

impl Example for AccessPage {
    fn example() -> Self {
        Self { data: vec![AccessObject::example()], next_cursor: None, has_more: false }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Operation")]
impl AccessLogApi {
    /// List accesses
    ///
    /// Returns who read, heard, searched, exported or erased calls, newest first. An access appears within about a
    /// second. Repeated lists, reads, searches and downloads of recordings within a minute are one access. Not logged
    /// are statistics without `include=results` and without a filter by alert, lists for the role `list`, which have no
    /// words, and anything with `--no-token`. The text of a search is never logged.
    #[oai(path = "/access-log", method = "get", operation_id = "list_accesses")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn list_accesses(
        &self,
        request: &Request,
        /// Only accesses to this call, also after it was erased.
        conversation_id: Query<Option<String>>,
        /// Only accesses by tokens and users with this name.
        #[oai(validator(min_length = 1, max_length = 128))]
        user: Query<Option<String>>,
        /// Only accesses of this kind.
        action: Query<Option<AccessAction>>,
        /// Only accesses at or after this time.
        accessed_after: Query<Option<DateTime>>,
        /// Only accesses before this time.
        accessed_before: Query<Option<DateTime>>,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of accesses per page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Answer<AccessPage>, Errors<ListErrors>> {
        let filters = ["conversation_id", "user", "action", "accessed_after", "accessed_before"];
        let list = ListQuery::without_total(request, &filters)?;
        let call = conversation_id.0.as_deref().map(ConversationId::new).transpose();
        let user = user.0.as_deref().map(UserName::new).transpose();
        let query = AccessLogRequest {
            conversation_id: call.map_err(|rule| ApiError::field("conversation_id", rule))?,
            user: user.map_err(|rule| ApiError::field("user", rule))?,
            action: action.0.map(Into::into),
            accessed_after: accessed_after.0.map(|time| time.0),
            accessed_before: accessed_before.0.map(|time| time.0),
            before: list.decode_cursor(cursor.0.as_deref(), |key| key.parse().ok())?,
            limit: limit.0.into(),
        };
        // No index has these, so the page may take reading all entries.
        let searches = query.action.is_some() || query.accessed_after.is_some() || query.accessed_before.is_some();
        let depth = Depth::for_page(PageRead {
            is_first: query.before.is_none(),
            limit: limit.0,
            searches_or_counts: searches,
        });
        let make = move |store: &dyn Reads| {
            let page = store.access_log(&query)?;
            let next_cursor = page.rows.last().filter(|_| page.has_more).map(|entry| list.encode_cursor(entry.id));
            Ok(AccessPage {
                data: page.rows.into_iter().map(Into::into).collect(),
                next_cursor,
                has_more: page.has_more,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }
}
