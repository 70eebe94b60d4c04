//! Codes of errors, which programs compare.

use poem_openapi::Enum;

/// A stable code of an error, for programs. New codes may be added; the status says what kind of error an unknown one
/// is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum)]
#[oai(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: a field, parameter or header does not exist or breaks a rule.
    InvalidField,
    /// 400: the body is incomplete or is not the JSON that it should be.
    InvalidBody,
    /// 400: the cursor is not one that the same query returned.
    InvalidCursor,
    /// 400: the request is invalid in another way.
    InvalidRequest,
    /// 401: the token is missing or invalid.
    Unauthorized,
    /// 401: the signature of an event is missing or invalid.
    InvalidSignature,
    /// 403: a page of another origin sent the request.
    ForeignOrigin,
    /// 403: the role of the token or user does not allow the request.
    RoleTooLow,
    /// 404: the path does not exist.
    NotFound,
    /// 404: the call does not exist.
    CallNotFound,
    /// 404: the driver does not exist.
    DriverNotFound,
    /// 404: the dispatch does not exist.
    DispatchNotFound,
    /// 404: the endpoint of outgoing webhooks is not configured.
    EndpointNotFound,
    /// 404: the call has no recording.
    RecordingNotFound,
    /// 405: the path supports other methods.
    MethodNotAllowed,
    /// 409: another driver has the phone number.
    PhoneNumberTaken,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 415: the content type is not supported.
    UnsupportedMediaType,
    /// 415: the content encoding is not supported.
    UnsupportedEncoding,
    /// 416: the range is outside of the recording.
    RangeNotSatisfiable,
    /// 422: the delivery key was used for another turn.
    DeliveryKeyReused,
    /// 429: too many requests from this address failed authentication.
    RateLimited,
    /// 500: internal error.
    InternalError,
    /// 503: too many writes are queued.
    QueueFull,
    /// 503: too many reads, streams, exports, backups or connections at once.
    Overloaded,
    /// 503: the query took too long.
    QueryTooSlow,
    /// 503: the call is being erased or restored.
    CallLocked,
    /// 503: another request deleted the resource while this one stored it.
    DeletedMeanwhile,
    /// 503: a part of the work is done; a retry continues.
    PartlyDone,
    /// 503: the disk or the database does not accept writes.
    StorageUnavailable,
    /// 503: the service is not ready.
    NotReady,
    /// 503: the service is stopping.
    ShuttingDown,
}
