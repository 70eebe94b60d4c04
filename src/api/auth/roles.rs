//! The role that each operation requires, its check, and the notes in the access log.
//!
//! These tables alone decide it, for every operation that requires an API token. An operation that is missing here
//! requires the highest role. A test compares the tables with the OpenAPI document.

use super::identity;
use crate::api::request_context;
use crate::domain::{Access, AccessAction, Identity, Role, Timestamp};
use crate::jobs::access_log::AccessLog;
use poem::{Endpoint, IntoResponse as _, Request, Response};

/// The role that an operation requires, and what it notes in the access log.
struct Rule {
    operation: &'static str,
    role: Role,
    noted: Option<AccessAction>,
}

const fn rule(operation: &'static str, role: Role, noted: Option<AccessAction>) -> Rule {
    Rule { operation, role, noted }
}

/// Rules of operations. An operation that [`Role::List`] may call has no words of calls in its answer, or leaves them
/// out for that role (see [`identity::may_read_words`]).
const RULES: &[Rule] = &[
    // The answer has the whole call.
    rule("change_call", Role::Manage, Some(AccessAction::Read)),
    rule("delete_dispatch", Role::Manage, None),
    // The erasure of a driver's calls notes each of them.
    rule("delete_driver", Role::Manage, None),
    rule("download_backup", Role::Manage, Some(AccessAction::Backup)),
    rule("erase_call", Role::Manage, Some(AccessAction::Erase)),
    rule("export_calls", Role::Read, Some(AccessAction::Export)),
    rule("get_audio", Role::Read, Some(AccessAction::Listen)),
    rule("get_call", Role::List, Some(AccessAction::Read)),
    rule("get_conversation", Role::Read, Some(AccessAction::Read)),
    rule("get_conversation_audio", Role::Read, Some(AccessAction::Listen)),
    rule("get_dispatch", Role::List, None),
    rule("get_driver", Role::List, None),
    rule("get_setup", Role::Manage, None),
    rule("get_stats", Role::List, None),
    rule("list_accesses", Role::Manage, None),
    rule("list_calls", Role::List, Some(AccessAction::List)),
    rule("list_conversations", Role::Read, Some(AccessAction::List)),
    rule("list_dispatches", Role::List, None),
    rule("list_drivers", Role::List, None),
    rule("list_tool_calls", Role::Read, Some(AccessAction::Read)),
    rule("list_transcriptions", Role::Read, Some(AccessAction::Read)),
    rule("list_webhooks", Role::Manage, None),
    rule("put_dispatch", Role::Manage, None),
    rule("put_dispatches", Role::Manage, None),
    rule("put_driver", Role::Manage, None),
    rule("retry_webhook", Role::Manage, None),
    rule("search_transcriptions", Role::Read, Some(AccessAction::Search)),
    rule("test_webhook", Role::Manage, None),
    rule("watch_call", Role::Read, Some(AccessAction::Read)),
    rule("watch_calls", Role::Read, Some(AccessAction::Read)),
];

/// A query parameter whose answer tells what was said. It requires a role, and is noted instead of its operation.
struct ParameterRule {
    operation: &'static str,
    parameter: &'static str,
    /// The value that tells it, or `None` if any value does.
    value: Option<&'static str>,
    noted: Option<AccessAction>,
}

/// Rules of parameters. All of them require [`Role::Read`].
///
/// An alert is a search, so the calls that matched it tell what was said in them.
const PARAMETER_RULES: &[ParameterRule] = &[
    ParameterRule { operation: "get_stats", parameter: "alert", value: None, noted: Some(AccessAction::Search) },
    ParameterRule { operation: "get_stats", parameter: "has_alert", value: None, noted: Some(AccessAction::Search) },
    ParameterRule {
        operation: "get_stats",
        parameter: "include",
        value: Some("results"),
        noted: Some(AccessAction::Read),
    },
    ParameterRule { operation: "list_calls", parameter: "alert", value: None, noted: Some(AccessAction::Search) },
    ParameterRule { operation: "list_calls", parameter: "has_alert", value: None, noted: Some(AccessAction::Search) },
    ParameterRule { operation: "list_calls", parameter: "q", value: None, noted: Some(AccessAction::Search) },
    ParameterRule {
        operation: "list_conversations",
        parameter: "search",
        value: None,
        noted: Some(AccessAction::Search),
    },
];

fn rule_of(operation: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.operation == operation)
}

/// Returns the role in the table for an operation.
pub(in crate::api) fn required_role(operation: &str) -> Option<Role> {
    rule_of(operation).map(|rule| rule.role)
}

/// An endpoint that requires a role.
pub struct RoleGuard<E> {
    inner: E,
    role: Role,
    noted: Option<AccessAction>,
    parameters: Box<[&'static ParameterRule]>,
    log: AccessLog,
}

impl<E> RoleGuard<E> {
    /// Wraps an endpoint that is not in the document, and that tells nothing of a call.
    pub fn new(role: Role, inner: E) -> Self {
        Self { inner, role, noted: None, parameters: Box::default(), log: AccessLog::disabled() }
    }

    /// Wraps an operation. Without an id, it requires the highest role.
    pub(super) fn of_operation(operation: Option<&'static str>, inner: E, log: AccessLog) -> Self {
        let rule = operation.and_then(rule_of);
        let parameters = PARAMETER_RULES.iter().filter(|rule| operation == Some(rule.operation)).collect();
        let required = rule.map_or(Role::Manage, |rule| rule.role);
        Self { inner, role: required, noted: rule.and_then(|rule| rule.noted), parameters, log }
    }

    /// Checks the role of a request. Returns what is noted if it succeeds.
    fn check(&self, request: &Request, identity: &Identity) -> poem::Result<Option<AccessAction>> {
        identity::require(identity, self.role, "this operation")?;
        let mut noted = self.noted;
        if !self.parameters.is_empty() {
            // A query that cannot be read is refused by the operation.
            let sent: Vec<(String, String)> = request.params().unwrap_or_default();
            for rule in &self.parameters {
                let tells = |(name, value): &(String, String)| {
                    name == rule.parameter && rule.value.is_none_or(|telling| telling == value)
                };
                if sent.iter().any(tells) {
                    let what = rule.value.map(|value| format!("{}={value}", rule.parameter));
                    identity::require(identity, Role::Read, what.as_deref().unwrap_or(rule.parameter))?;
                    noted = rule.noted.or(noted);
                }
            }
        }
        let has_words = noted != Some(AccessAction::List) || identity.role >= Role::Read;
        // The router has made GET of HEAD, so both are noted.
        Ok(noted.filter(|_| has_words))
    }
}

/// Notes an erasure whose client hangs up, because it is completed without the client.
struct Unanswered<'a> {
    log: &'a AccessLog,
    /// The client, until there is an answer.
    identity: Option<Identity>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some((identity, id)) = self.identity.take().zip(request_context::current_conversation()) {
            let (action, conversation_id) = (AccessAction::Erase, Some(id));
            self.log.note(Access { at: Timestamp::now(), identity, action, conversation_id });
        }
    }
}

impl<E: Endpoint> Endpoint for RoleGuard<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let identity = identity::of_request(&request)?.clone();
        let noted = self.check(&request, &identity)?;
        let erases = noted == Some(AccessAction::Erase);
        let mut unanswered = Unanswered { log: &self.log, identity: erases.then(|| identity.clone()) };
        let answered = self.inner.call(request).await;
        unanswered.identity = None;
        let answer = answered?.into_response();
        if let Some(action) = noted.filter(|_| answer.status().is_success()) {
            let conversation_id = request_context::current_conversation();
            self.log.note(Access { at: Timestamp::now(), identity, action, conversation_id });
        }
        Ok(answer)
    }
}
