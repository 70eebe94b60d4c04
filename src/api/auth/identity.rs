//! The identity of the one who sends a request, and what its role allows.

use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::domain::{Credential, Identity, Role};
use poem::Request;

/// Returns the identity of a request, which the access checks add to each request that they allow.
///
/// # Errors
/// The request did not pass them.
pub(super) fn of_request(request: &Request) -> Result<&Identity, ApiError> {
    request.data().ok_or_else(|| ApiError::no_token("send the API token as Authorization: Bearer"))
}

/// Checks that a role includes another one. `what` is what requires that one.
///
/// # Errors
/// It does not.
pub(super) fn require(identity: &Identity, required: Role, what: &str) -> Result<(), ApiError> {
    if identity.role >= required {
        return Ok(());
    }
    let details = format!("{what} requires the role {required}, but the role is {}", identity.role);
    Err(ApiError::Forbidden(ErrorCode::RoleTooLow, details))
}

/// Returns whether the answer to a request may contain what was said in calls.
pub(in crate::api) fn may_read_words(request: &Request) -> bool {
    of_request(request).is_ok_and(|identity| identity.role >= Role::Read)
}

/// Returns the identity of a request for the access log, which notes nobody who needs no token.
pub(in crate::api) fn noted_identity(request: &Request) -> Option<Identity> {
    of_request(request).ok().filter(|identity| identity.credential != Credential::None).cloned()
}
