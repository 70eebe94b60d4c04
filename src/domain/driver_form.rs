//! Reads drivers and dispatches from API requests and imported files, and validates their fields.

use super::validation::{FieldError, FieldReader};
use super::{ConversationId, DriverId, NewDispatch, NewDriver, PhoneNumber, Timestamp};

/// Reads a driver: `id` unless given by the caller, `name`, and optionally `phone_number`.
///
/// # Errors
/// All invalid fields.
pub fn parse_driver(mut fields: FieldReader, id: Option<DriverId>) -> Result<NewDriver, Vec<FieldError>> {
    let id = if id.is_some() {
        id
    } else {
        let number = fields.number("id");
        let number = fields.required("id", number);
        fields.validate("id", number, DriverId::new)
    };
    let name = fields.text("name");
    let name = fields.required("name", name);
    let name = fields.validate("name", name, |name| NewDriver::check_name(&name));
    let phone_number = fields.text("phone_number");
    let phone_number = fields.validate("phone_number", phone_number, |number| PhoneNumber::new(number.trim()));
    let driver = id.zip(name).map(|(id, name)| NewDriver { id, name, phone_number });
    fields.finish(driver)
}

/// Reads a dispatch.
///
/// Its fields are `conversation_id` unless given by the caller, `driver_id`, and optionally `phone_number`, `batch_id`
/// and `dispatched_at`.
///
/// # Errors
/// All invalid fields.
pub fn parse_dispatch(
    mut fields: FieldReader,
    conversation_id: Option<ConversationId>,
) -> Result<NewDispatch, Vec<FieldError>> {
    let conversation_id = if conversation_id.is_some() {
        conversation_id
    } else {
        let text = fields.text("conversation_id");
        let text = fields.required("conversation_id", text);
        fields.validate("conversation_id", text, |text| ConversationId::from_sender(&text))
    };
    let driver_id = fields.number("driver_id");
    let driver_id = fields.required("driver_id", driver_id);
    let driver_id = fields.validate("driver_id", driver_id, DriverId::new);
    let phone_number = fields.text("phone_number");
    let phone_number = fields.validate("phone_number", phone_number, |number| PhoneNumber::new(number.trim()));
    let batch_id = fields.text("batch_id");
    let batch_id = fields.validate("batch_id", batch_id, |text| NewDispatch::check_batch_id(&text));
    let dispatched_at = fields.text("dispatched_at");
    let dispatched_at = fields.validate("dispatched_at", dispatched_at, |text| Timestamp::parse(text.trim()));
    let dispatch = conversation_id.zip(driver_id).map(|(conversation_id, driver_id)| NewDispatch {
        conversation_id,
        driver_id,
        phone_number,
        batch_id,
        dispatched_at,
    });
    fields.finish(dispatch)
}
