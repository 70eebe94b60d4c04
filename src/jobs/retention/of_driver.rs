//! The calls that are known to be with a driver.

use super::eraser::{Eraser, PAGE};
use super::error::EraseError;
use crate::domain::{Call, CallStatus, ConversationId, DriverId, DriverSource};
use crate::store::{CallKey, CallQuery, Order, Outcome, RecordFilter, Write};

impl<W: Fn(Write) -> Result<Outcome, EraseError>> Eraser<W> {
    /// Passes the calls that are known to be with a driver to a callback, page by page. Returns the number of calls
    /// that only an unsigned history assigns to the driver: anybody may have sent it, and may have named another
    /// driver's call.
    pub(super) fn each_page_of(
        &self,
        id: DriverId,
        mut each: impl FnMut(&[ConversationId]) -> Result<(), EraseError>,
    ) -> Result<u64, EraseError> {
        let (mut unproven, mut after) = (0, None);
        loop {
            let page = self.store()?.calls(&calls_of(id, after))?;
            let Some(last) = page.rows.last() else { return Ok(unproven) };
            after = Some(CallKey { start: last.call_start_time, id: last.id });
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

    /// Returns whether a call's driver is proven by its dispatch or a signed record. A record that is not reconciled
    /// yet may name another driver.
    fn is_proven(&self, call: &Call) -> Result<bool, EraseError> {
        if call.report.driver_source == Some(DriverSource::Dispatch) {
            return Ok(true);
        }
        let due = self.store()?.material(&call.conversation_id)?.is_some();
        Ok(call.report.record_event_id.is_some() && !due)
    }
}

fn calls_of(id: DriverId, after: Option<CallKey>) -> CallQuery {
    CallQuery {
        status: None::<CallStatus>,
        driver_id: Some(id),
        user_id: None,
        agent_id: None,
        record: RecordFilter::default(),
        started_after: None,
        started_before: None,
        text: None,
        order: Order::Ascending,
        after,
        limit: PAGE,
        with_total: false,
    }
}
