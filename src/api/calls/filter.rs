//! Query parameters that filter calls.

use super::schema::CallStatus;
use crate::api::date_time::DateTime;
use crate::api::error::ApiError;
use crate::api::path_params;
use crate::domain::DriverId;
use crate::store::CallFilter;

/// The values of query parameters that filter calls. An operation sets those that it has.
#[derive(Default)]
pub(super) struct CallFilterParams {
    pub(super) conversation_id: Option<String>,
    pub(super) status: Option<CallStatus>,
    pub(super) driver_id: Option<i64>,
    pub(super) has_driver: Option<bool>,
    pub(super) started_after: Option<DateTime>,
    pub(super) started_before: Option<DateTime>,
    pub(super) q: Option<String>,
}

impl CallFilterParams {
    /// Parses the values.
    ///
    /// # Errors
    /// A value breaks a rule.
    pub(super) fn parse(self) -> Result<CallFilter, ApiError> {
        let driver_id = self.driver_id.map(DriverId::new).transpose();
        if self.q.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(ApiError::field("q", "must not contain U+0000"));
        }
        Ok(CallFilter {
            conversation_id: self.conversation_id.map(|id| path_params::conversation_id(&id)).transpose()?,
            status: self.status.map(Into::into),
            driver_id: driver_id.map_err(|rule| ApiError::field("driver_id", rule))?,
            has_driver: self.has_driver,
            started_after: self.started_after.map(|time| time.0),
            started_before: self.started_before.map(|time| time.0),
            text: self.q,
            ..CallFilter::default()
        })
    }
}
