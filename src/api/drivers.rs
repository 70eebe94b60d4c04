//! Drivers: list, read, store and delete.

use super::auth::noted_identity;
use super::body::{JsonBody, JsonOk};
use super::calls::schema::example_instant;
use super::date_time::DateTime;
use super::error::{ApiError, Errors, ListErrors, PutErrors, ReadErrors};
use super::error_code::ErrorCode;
use super::pagination::{ListQuery, default_limit, parse_query_params, reject_query_params};
use super::reader::{Answer, Depth, PageRead, Reader};
use super::tag::Tag;
use crate::domain::driver_form::parse_driver;
use crate::domain::validation::FieldReader;
use crate::domain::{self, DriverId, PhoneNumber};
use crate::ingest::Writer;
use crate::jobs::retention::{DriverErasure, DriverErasureError, EraseCounts};
use crate::store::command::{Completion, DeleteDriver, PutDrivers};
use crate::store::{DriverPageRequest, Reads};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use std::collections::BTreeSet;

pub(super) struct DriversApi {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) erasure: DriverErasure,
}

/// A driver.
#[derive(Debug, Object)]
#[oai(example)]
struct Driver {
    /// The driver's number in the fleet.
    id: i64,
    /// Name of the driver.
    name: String,
    /// Phone number in E.164 form, unique among drivers.
    #[oai(nullable)]
    phone_number: Option<String>,
    /// Time at which the driver was first stored.
    created_at: DateTime,
    /// Time of the last change of the name or the phone number.
    updated_at: DateTime,
}

impl From<domain::Driver> for Driver {
    fn from(driver: domain::Driver) -> Self {
        Self {
            id: driver.id.get(),
            name: driver.name,
            phone_number: driver.phone_number.as_ref().map(PhoneNumber::as_str).map(str::to_owned),
            created_at: DateTime(driver.created_at),
            updated_at: DateTime(driver.updated_at),
        }
    }
}

impl Example for Driver {
    fn example() -> Self {
        Self {
            id: 1042,
            name: "Maria Kowalski".to_owned(),
            phone_number: Some("+15550100042".to_owned()),
            created_at: example_instant("2026-09-01T08:00:00Z"),
            updated_at: example_instant("2026-09-01T08:00:00Z"),
        }
    }
}

/// A page of drivers.
#[derive(Debug, Object)]
#[oai(example)]
struct DriverPage {
    /// Drivers of this page, by id.
    data: Vec<Driver>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page follows.
    has_more: bool,
    /// Number of all drivers that match; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

impl Example for DriverPage {
    fn example() -> Self {
        Self { data: vec![Driver::example()], next_cursor: None, has_more: false, total: None }
    }
}

/// The data to store about a driver.
#[derive(Debug, Object)]
#[oai(example)]
struct DriverPut {
    /// Name, 1 to 200 characters.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
    /// Phone number in E.164 form; null or absent for none.
    #[oai(nullable, validator(pattern = r"^\+[1-9][0-9]{1,14}$"))]
    phone_number: Option<String>,
}

impl Example for DriverPut {
    fn example() -> Self {
        Self { name: "Maria Kowalski".to_owned(), phone_number: Some("+15550100042".to_owned()) }
    }
}

#[derive(ApiResponse)]
enum DriverStored {
    /// The driver existed and was replaced.
    #[oai(status = 200)]
    Replaced(Json<Driver>),
    /// The driver is new.
    #[oai(status = 201)]
    Created(Json<Driver>),
}

#[derive(ApiResponse)]
enum DriverDeleted {
    /// The driver is deleted. With `erase_calls=true`, so are the calls and dispatches; otherwise they have no driver
    /// now.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Drivers")]
impl DriversApi {
    /// List drivers
    #[oai(path = "/drivers", method = "get", operation_id = "list_drivers")]
    async fn list_drivers(
        &self,
        request: &Request,
        /// Only drivers with these ids: 1 to 100 numbers, separated by commas.
        ids: Query<Option<String>>,
        /// Only drivers with this text in the name, in any case and with or without accents, with its digits in the
        /// phone number, or with this id.
        #[oai(validator(min_length = 1, max_length = 200))]
        q: Query<Option<String>>,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of drivers per page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Return the number of all drivers that match.
        #[oai(default)]
        include_total: Query<bool>,
    ) -> Result<Answer<DriverPage>, Errors<ListErrors>> {
        let list = ListQuery::strict(request, &["ids", "q"], &[])?;
        let ids = ids.0.as_deref().map(driver_ids).transpose()?;
        if q.0.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(ApiError::field("q", "must not contain U+0000").into());
        }
        let query = DriverPageRequest {
            ids,
            text: q.0,
            after: list.decode_cursor(cursor.0.as_deref(), |key| DriverId::new(key.parse().ok()?).ok())?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        let depth = Depth::for_page(PageRead {
            is_first: query.after.is_none(),
            limit: limit.0,
            searches_or_counts: query.with_total || query.text.is_some(),
        });
        let make = move |store: &dyn Reads| {
            let page = store.drivers(&query)?;
            let next_cursor = page.rows.last().filter(|_| page.has_more).map(|driver| list.encode_cursor(driver.id));
            Ok(DriverPage {
                data: page.rows.into_iter().map(Into::into).collect(),
                next_cursor,
                has_more: page.has_more,
                total: page.total,
            })
        };
        Ok(self.reader.answer(request, depth, make).await?)
    }

    /// Get a driver
    #[oai(path = "/drivers/:id", method = "get", operation_id = "get_driver")]
    async fn get_driver(
        &self,
        request: &Request,
        /// The driver's number in the fleet, an integer from 1.
        id: Path<String>,
    ) -> Result<JsonOk<Driver>, Errors<ReadErrors>> {
        reject_query_params(request)?;
        let id = driver_id(&id.0)?;
        Ok(JsonOk(self.stored(id).await?.into()))
    }

    /// Create or replace a driver
    #[oai(path = "/drivers/:id", method = "put", operation_id = "put_driver")]
    async fn put_driver(
        &self,
        request: &Request,
        /// The driver's number in the fleet, an integer from 1.
        id: Path<String>,
        body: JsonBody<DriverPut>,
    ) -> Result<DriverStored, Errors<PutErrors>> {
        reject_query_params(request)?;
        let id = driver_id(&id.0)?;
        let fields = FieldReader::from_json(&body.bytes).map_err(ApiError::body_rule)?;
        let driver = parse_driver(fields.strict(), Some(id)).map_err(|problems| ApiError::fields(&problems))?;
        let counts = self.writer.execute(PutDrivers(vec![driver])).await?;
        let driver = Json(self.stored(id).await.map_err(ApiError::if_deleted_meanwhile)?.into());
        Ok(if counts.created > 0 { DriverStored::Created(driver) } else { DriverStored::Replaced(driver) })
    }

    /// Delete a driver
    ///
    /// By default, the driver's calls and dispatches are kept, without a driver; `erase_calls` deletes them too.
    #[oai(path = "/drivers/:id", method = "delete", operation_id = "delete_driver")]
    async fn delete_driver(
        &self,
        request: &Request,
        /// The driver's number in the fleet, an integer from 1.
        id: Path<String>,
        /// Permanently erase the driver's calls and dispatches first. This takes some milliseconds per call; only one
        /// driver is erased at a time. The work continues if the connection closes. After a 503, `details` lists what
        /// was erased, and a retry continues. A call that only an unsigned history attributes to the driver is kept,
        /// without a driver; the log has the number of such calls.
        #[oai(default)]
        erase_calls: Query<bool>,
    ) -> Result<DriverDeleted, Errors<ReadErrors>> {
        parse_query_params(request, &["erase_calls"], &[])?;
        let id = driver_id(&id.0)?;
        if erase_calls.0 {
            let erased = self.erasure.erase(id, noted_identity(request)).await.map_err(ApiError::from)?;
            return if erased.is_empty() { Err(driver_not_found(id).into()) } else { Ok(DriverDeleted::Deleted) };
        }
        // Each write detaches a limited number of calls.
        let failed = |error| ApiError::from_write(error, || driver_not_found(id));
        while self.writer.execute(DeleteDriver(id)).await.map_err(failed)? == Completion::Begun {}
        Ok(DriverDeleted::Deleted)
    }
}

impl DriversApi {
    async fn stored(&self, id: DriverId) -> Result<domain::Driver, ApiError> {
        let driver = self.reader.read(move |store| store.driver(id)).await?;
        driver.ok_or_else(|| driver_not_found(id))
    }
}

impl From<DriverErasureError> for ApiError {
    fn from(error: DriverErasureError) -> Self {
        match error {
            DriverErasureError::Busy => {
                let message = "another driver is being erased; try again shortly";
                Self::Unavailable(ErrorCode::Overloaded, message, None)
            }
            DriverErasureError::Failed { driver, erased, error } if error.is_temporary() || !erased.is_empty() => {
                let EraseCounts { calls, dispatches, .. } = erased;
                let done = format!("erased {calls} calls and {dispatches} dispatches of driver {driver} so far");
                if error.is_temporary() {
                    Self::Unfinished(format!("{done}; {error}"))
                } else {
                    Self::Interrupted(done, error.to_string())
                }
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

fn driver_not_found(id: DriverId) -> ApiError {
    ApiError::NotFound(ErrorCode::DriverNotFound, format!("driver {id} does not exist"))
}

/// Maximum number of ids in one request.
const MAX_IDS: usize = 100;

fn driver_ids(text: &str) -> Result<BTreeSet<DriverId>, ApiError> {
    let ids: Option<BTreeSet<_>> = text.split(',').map(|id| driver_id(id).ok()).collect();
    let rule = || ApiError::field("ids", format_args!("must be 1 to {MAX_IDS} driver ids, separated by commas"));
    ids.filter(|ids| ids.len() <= MAX_IDS).ok_or_else(rule)
}

/// Parses the id in the path. The parameter is text, because an invalid id then gets the error of its rule.
fn driver_id(text: &str) -> Result<DriverId, ApiError> {
    // Anything but digits becomes 0, which the rule rejects. A sign or a leading zero would be a second name of the id.
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    DriverId::new(text.parse().ok().filter(|_| canonical).unwrap_or(0)).map_err(|rule| ApiError::field("id", rule))
}
