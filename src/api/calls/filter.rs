//! The query parameters that filter calls, for every operation that selects calls.
//!
//! The framework takes each parameter as an argument of a handler. The filters are one argument instead:
//! [`CallFilterParams`] reads all of them, and [`expand_placeholders`] lists them in the document.

use super::schema::{AnsweredBy, CallOutcome, CallStatus, Channel, Direction};
use crate::api::date_time::DateTime;
use crate::api::error::ApiError;
use crate::api::path_params;
use crate::domain::{DriverId, NumberEnd};
use crate::store::CallFilter;
use poem::{Request, RequestBody};
use poem_openapi::param::Query;
use poem_openapi::registry::{MetaOperationParam, MetaParamIn, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

/// Defines [`CallFilterParams`] from the name, type and description of each parameter.
macro_rules! filter_params {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty,)+) => {
        /// The values of the query parameters that filter calls.
        #[derive(Debug, Default)]
        pub(in crate::api) struct CallFilterParams {
            $($(#[doc = $doc])+ $name: $type,)+
        }

        /// Names of the parameters.
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        impl<'a> ApiExtractor<'a> for CallFilterParams {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                $(<Query<$type> as ApiExtractor>::register(registry);)+
            }

            fn param_in() -> Option<MetaParamIn> {
                Some(MetaParamIn::Query)
            }

            fn param_schema_ref() -> Option<MetaSchemaRef> {
                Some(placeholder())
            }

            async fn from_request(
                request: &'a Request,
                body: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                $(
                    let options = ExtractParamOptions { name: stringify!($name), ..ExtractParamOptions::default() };
                    let Query($name) = <Query<$type> as ApiExtractor>::from_request(request, body, options).await?;
                )+
                Ok(Self { $($name),+ })
            }
        }

        /// Returns the descriptions of the parameters for the document.
        fn described() -> Vec<MetaOperationParam> {
            vec![$(described_param::<Query<$type>>(stringify!($name), concat!($($doc, "\n"),+)),)+]
        }
    };
}

filter_params! {
    /// Only calls with this status.
    status: Option<CallStatus>,
    /// Only calls with this driver.
    driver_id: Option<i64>,
    /// `true`: only calls with a known driver. `false`: only calls without one.
    has_driver: Option<bool>,
    /// Only calls that this one answered; calls without any information count as `unknown`.
    answered_by: Option<AnsweredBy>,
    /// Only calls with this result of the analysis; calls without an analysis count as `unknown`.
    outcome: Option<CallOutcome>,
    /// Only calls in this direction.
    direction: Option<Direction>,
    /// Only calls of this channel; calls without a record count as `unknown`.
    channel: Option<Channel>,
    /// Only calls of this agent.
    agent_id: Option<String>,
    /// Only calls with this telephone number at the other end: in any spelling, or at least its last four digits.
    number: Option<String>,
    /// Only calls in one of these main languages, as ElevenLabs writes them, such as `en`.
    language: Vec<String>,
    /// Only calls of this environment of the agent, such as `production`.
    environment: Option<String>,
    /// Only calls with one of these tags.
    tag: Vec<String>,
    /// Only calls where one of these tools was called.
    tool: Vec<String>,
    /// `true`: only calls with a tool that failed. `false`: only calls without one.
    tool_error: Option<bool>,
    /// Only calls with a turn that matched one of these alerts, by name. Requires the role `read`.
    alert: Vec<String>,
    /// `true`: only calls with a turn that matched an alert. `false`: only calls without one. Requires the role `read`.
    has_alert: Option<bool>,
    /// Minimum duration, in seconds.
    min_seconds: Option<i64>,
    /// Maximum duration, in seconds.
    max_seconds: Option<i64>,
    /// `true`: only calls with a recording. `false`: only calls without one.
    has_audio: Option<bool>,
    /// `true`: only calls that were reconciled with a record. `false`: only calls that were not.
    reconciled: Option<bool>,
    /// `true`: also conversations that a sub-agent held for another conversation. `false`: none of them. The default is
    /// `true` for exports and `false` otherwise.
    include_children: Option<bool>,
    /// Only calls that started at or after this time.
    started_after: Option<DateTime>,
    /// Only calls that started before this time.
    started_before: Option<DateTime>,
}

/// Maximum length of a text, in characters.
pub(in crate::api) const MAX_TEXT_CHARS: usize = 256;

/// Maximum number of values of a repeated parameter.
pub(in crate::api) const MAX_VALUES: usize = 20;

impl CallFilterParams {
    /// The parameters that may be repeated.
    pub(in crate::api) const REPEATABLE: [&str; 4] = ["language", "tag", "tool", "alert"];

    /// Returns the names of the parameters that filter calls, and of an operation's own.
    pub(in crate::api) fn names_with(own: &[&'static str]) -> Vec<&'static str> {
        [NAMES, own].concat()
    }

    /// Returns the names of the filters that may be repeated, and of an operation's own such parameters.
    pub(in crate::api) fn repeatable_with(own: &[&'static str]) -> Vec<&'static str> {
        [&Self::REPEATABLE, own].concat()
    }

    /// Validates the values. `include_children` is the default of the parameter with that name.
    ///
    /// # Errors
    /// A value breaks a rule.
    pub(in crate::api) fn parse(self, include_children: bool) -> Result<CallFilter, ApiError> {
        let number = self.number.as_deref().map(NumberEnd::parse).transpose();
        Ok(CallFilter {
            status: self.status.map(Into::into),
            driver_id: driver_id(self.driver_id)?,
            has_driver: self.has_driver,
            answered_by: self.answered_by.map(Into::into),
            outcome: self.outcome.map(Into::into),
            direction: self.direction.map(Into::into),
            channel: self.channel.map(Into::into),
            agent_id: one_text("agent_id", self.agent_id)?,
            number: number.map_err(|rule| ApiError::field("number", rule))?,
            languages: texts("language", self.language)?,
            environment: one_text("environment", self.environment)?,
            tags: texts("tag", self.tag)?,
            tools: texts("tool", self.tool)?,
            tool_error: self.tool_error,
            alerts: texts("alert", self.alert)?,
            has_alert: self.has_alert,
            min_seconds: seconds("min_seconds", self.min_seconds)?,
            max_seconds: seconds("max_seconds", self.max_seconds)?,
            has_audio: self.has_audio,
            reconciled: self.reconciled,
            exclude_children: !self.include_children.unwrap_or(include_children),
            started_after: self.started_after.map(|time| time.0),
            started_before: self.started_before.map(|time| time.0),
            ..CallFilter::default()
        })
    }
}

/// Validates the id of a driver.
fn driver_id(number: Option<i64>) -> Result<Option<DriverId>, ApiError> {
    number.map(DriverId::new).transpose().map_err(|rule| ApiError::field("driver_id", rule))
}

/// Validates the id of a call to which an operation is limited.
pub(super) fn conversation_id(id: Option<&str>) -> Result<Option<crate::domain::ConversationId>, ApiError> {
    id.map(path_params::conversation_id).transpose()
}

/// Validates a text to search for in calls.
pub(super) fn text(q: Option<String>) -> Result<Option<String>, ApiError> {
    match q {
        Some(text) if text.contains('\0') => Err(ApiError::field("q", "must not contain U+0000")),
        q => Ok(q),
    }
}

/// Validates the value of a parameter that is compared with an identifier or name of ElevenLabs.
pub(in crate::api) fn one_text(name: &str, text: Option<String>) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS || text.contains('\0') => {
            let rule = format!("must be 1 to {MAX_TEXT_CHARS} characters without U+0000");
            Err(ApiError::field(name, rule))
        }
        text => Ok(text),
    }
}

/// Validates the values of a repeated parameter.
pub(in crate::api) fn texts(name: &str, texts: Vec<String>) -> Result<Vec<String>, ApiError> {
    if texts.len() > MAX_VALUES {
        return Err(ApiError::field(name, format!("must be given at most {MAX_VALUES} times")));
    }
    texts.into_iter().filter_map(|text| one_text(name, Some(text)).transpose()).collect()
}

/// Validates a duration.
fn seconds(name: &str, seconds: Option<i64>) -> Result<Option<i64>, ApiError> {
    match seconds {
        Some(..0) => Err(ApiError::field(name, "must not be negative")),
        seconds => Ok(seconds),
    }
}

/// Returns the schema of the handler's argument, which marks its place in the document.
fn placeholder() -> MetaSchemaRef {
    MetaSchemaRef::Reference("CallFilterParams".to_owned())
}

fn described_param<'a, P: ApiExtractor<'a>>(name: &str, doc: &str) -> MetaOperationParam {
    let lines: Vec<_> = doc.lines().map(str::trim).collect();
    MetaOperationParam {
        name: name.to_owned(),
        schema: P::param_schema_ref().expect("a query parameter has a schema"),
        in_type: MetaParamIn::Query,
        description: Some(lines.join(" ")),
        required: false,
        deprecated: false,
        explode: true,
        style: None,
    }
}

/// Replaces the placeholder of [`CallFilterParams`] in an operation's parameters by the filters.
pub(in crate::api) fn expand_placeholders(params: &mut Vec<MetaOperationParam>) {
    if let Some(at) = params.iter().position(|param| param.schema == placeholder()) {
        params.splice(at..=at, described());
    }
}
