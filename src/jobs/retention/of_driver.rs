//! The calls that are known to be with a driver.

use super::eraser::{Eraser, PAGE_ROWS};
use super::error::EraseError;
use crate::domain::{Call, ConversationId, DriverId, DriverSource};
use crate::store::{CallFilter, CallKey, CallPageRequest, SortOrder};

impl Eraser {
    /// Passes the calls that are known to be with a driver to a callback, page by page. Returns the number of calls
    /// that only an unsigned history assigns to the driver: anybody may have sent it, and may have named another
    /// driver's call.
    pub(super) fn for_each_page(
        &self,
        id: DriverId,
        mut each: impl FnMut(&[ConversationId]) -> Result<(), EraseError>,
    ) -> Result<u64, EraseError> {
        let mut unproven = 0;
        let filter = CallFilter::of_driver(id);
        let mut request =
            CallPageRequest { filter, order: SortOrder::Ascending, after: None, limit: PAGE_ROWS, with_total: false };
        loop {
            let page = self.store()?.calls(&request)?;
            let Some(last) = page.rows.last() else { return Ok(unproven) };
            request.after = Some(CallKey { start: last.call_start_time, id: last.id });
            let mut proven = Vec::with_capacity(page.rows.len());
            for call in page.rows {
                if self.is_proven(&call)? {
                    proven.push(call.conversation_id);
                } else {
                    unproven += 1;
                }
            }
            each(&proven)?;
        }
    }

    /// Returns whether a call's driver is proven by its dispatch, by a signed record, or by the number that called
    /// before the first word, which only a holder of the ingest token can link. A record that is not reconciled yet may
    /// name another driver.
    fn is_proven(&self, call: &Call) -> Result<bool, EraseError> {
        if call.report.driver_source == Some(DriverSource::Dispatch) {
            return Ok(true);
        }
        let due = self.store()?.material(&call.conversation_id)?.is_some();
        let is_linked = call.report.driver_source == Some(DriverSource::Initiation);
        Ok((call.report.record_event_id.is_some() || is_linked) && !due)
    }
}
