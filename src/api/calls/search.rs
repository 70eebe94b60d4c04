//! Full-text search over all turns.

use super::filter::{self, CallFilterParams};
use super::schema::{AnsweredBy, CallStatus, Channel, example_instant};
use super::speaker::Speaker;
use super::transcriptions::{Transcription, TurnKind};
use crate::api::date_time::DateTime;
use crate::api::error::{ApiError, Errors, ListErrors};
use crate::api::pagination::{ListQuery, default_limit};
use crate::api::reader::{Answer, Depth, Reader};
use crate::api::tag::Tag;
use crate::domain::{DriverId, SearchExpr};
use crate::store::{self, CallFilter, RankPosition, Reads, SearchKey, SearchQuery};
use poem::Request;
use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

pub(in crate::api) struct SearchApi {
    pub(in crate::api) reader: Reader,
}

/// Sort order of search results.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum SearchOrder {
    /// Best match first.
    Best,
    /// Most recently stored turn first.
    Desc,
    /// Former name of `desc`.
    Newest,
}

/// A turn that matches the search, with facts about its call.
#[derive(Debug, Object)]
#[oai(example)]
struct SearchHit {
    #[oai(flatten)]
    transcription: Transcription,
    /// The driver of the call; null if not known.
    #[oai(nullable)]
    driver_id: Option<i64>,
    /// Name of the driver.
    #[oai(nullable)]
    driver_name: Option<String>,
    /// Status of the call.
    status: CallStatus,
    /// Start of the call.
    call_start_time: DateTime,
    /// HTML: an excerpt with the found words between `<mark>` and `</mark>`; everything else is escaped.
    snippet: String,
    #[oai(nullable)]
    answered_by: Option<AnsweredBy>,
    #[oai(nullable)]
    channel: Option<Channel>,
}

impl From<store::Hit> for SearchHit {
    fn from(hit: store::Hit) -> Self {
        Self {
            transcription: hit.turn.into(),
            driver_id: hit.driver_id.map(DriverId::get),
            driver_name: hit.driver_name,
            status: hit.status.into(),
            call_start_time: DateTime(hit.call_start_time),
            snippet: hit.snippet.html(),
            answered_by: hit.answered_by.map(Into::into),
            channel: hit.channel.map(Into::into),
        }
    }
}

impl Example for SearchHit {
    fn example() -> Self {
        Self {
            transcription: Transcription::example(),
            driver_id: Some(1042),
            driver_name: Some("Maria Kowalski".to_owned()),
            status: CallStatus::Completed,
            call_start_time: example_instant("2026-09-28T12:00:00Z"),
            snippet: "Yeah, I&#39;m parked at the Joliet terminal. The <mark>reefer</mark> reads forty five degrees."
                .to_owned(),
            answered_by: Some(AnsweredBy::Human),
            channel: Some(Channel::Phone),
        }
    }
}

/// A page of search results.
#[derive(Debug, Object)]
#[oai(example)]
struct SearchPage {
    /// Turns of this page.
    data: Vec<SearchHit>,
    /// The `cursor` of the next page; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// True if another page may follow.
    has_more: bool,
    /// Number of all turns that match; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
    /// Maximum number of stored turns that this search missed because they are not indexed yet. Usually 0; greater for
    /// some time after an upgrade, or under sustained load.
    unindexed: u64,
}

impl Example for SearchPage {
    fn example() -> Self {
        Self { data: vec![SearchHit::example()], next_cursor: None, has_more: false, total: None, unindexed: 0 }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl SearchApi {
    /// Search the text of turns
    ///
    /// `q` contains words, which must all occur in the turn; `"a phrase"`; the operators `AND`, `OR`, `NOT` in
    /// capitals; parentheses; and prefixes such as `begin*`. Case is ignored, and so are accents of Latin and Greek
    /// letters. Both the live text and the text of ElevenLabs' record are searched; superseded turns are left out. In
    /// languages that are written without spaces, the text between two punctuation marks is one word.
    ///
    /// A page may have fewer turns than `limit`, even none, although more follow. Continue as long as `has_more` is
    /// true.
    #[oai(path = "/search", method = "get", operation_id = "search_transcriptions")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn search_transcriptions(
        &self,
        request: &Request,
        /// The search expression.
        #[oai(validator(min_length = 1, max_length = 400))]
        q: Query<String>,
        /// Only turns of this speaker. The words of a voicemail or fax are not the driver's.
        speaker_type: Query<Option<Speaker>>,
        /// Only turns of one of these kinds.
        kind: Query<Vec<TurnKind>>,
        /// Only turns of this call.
        conversation_id: Query<Option<String>>,
        calls: CallFilterParams,
        /// Only turns with a time at or after this one.
        said_after: Query<Option<DateTime>>,
        /// Only turns with a time before this one.
        said_before: Query<Option<DateTime>>,
        /// `best` (default): the 300 most recently stored matches first, sorted by rank, then the 300 before them, and
        /// so on. `desc`: the most recently stored matches first, so turns of old calls are first after an import or
        /// backfill; `newest` is its former name.
        order: Query<Option<SearchOrder>>,
        /// The `next_cursor` of the previous page.
        cursor: Query<Option<String>>,
        /// Maximum number of turns per page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Return the number of all turns that match. This is slow for large results.
        #[oai(default)]
        include_total: Query<bool>,
    ) -> Result<Answer<SearchPage>, Errors<ListErrors>> {
        let own = ["q", "speaker_type", "kind", "conversation_id", "said_after", "said_before", "order"];
        let repeatable = CallFilterParams::repeatable_with(&["kind"]);
        let list = ListQuery::strict(request, &CallFilterParams::names_with(&own), &repeatable)?;
        let calls = CallFilter {
            conversation_id: filter::conversation_id(conversation_id.0.as_deref())?,
            ..calls.parse(false)?
        };
        let query = SearchQuery {
            wanted: SearchExpr::parse(&q.0).map_err(|rule| ApiError::field("q", rule))?,
            speaker: speaker_type.0.map(Into::into),
            kinds: kind.0.into_iter().map(Into::into).collect(),
            calls,
            said_after: said_after.0.map(|time| time.0),
            said_before: said_before.0.map(|time| time.0),
            order: match order.0.unwrap_or(SearchOrder::Best) {
                SearchOrder::Best => store::SearchOrder::Best,
                SearchOrder::Desc | SearchOrder::Newest => store::SearchOrder::Newest,
            },
            after: list.decode_cursor(cursor.0.as_deref(), decode_key)?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        let make = move |store: &dyn Reads| {
            let found = store.search(&query)?;
            Ok(SearchPage {
                data: found.hits.into_iter().map(Into::into).collect(),
                has_more: found.next.is_some(),
                next_cursor: found.next.map(|key| list.encode_cursor(encode_key(key))),
                total: found.total,
                unindexed: found.unsearched,
            })
        };
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }
}

/// Encodes a key for a cursor. The rank is encoded as its bits, because it must be restored exactly.
fn encode_key(key: SearchKey) -> String {
    match key.within {
        None => key.top.to_string(),
        Some(RankPosition { bottom, rank, id }) => format!("{} {bottom} {:x} {id}", key.top, rank.to_bits()),
    }
}

fn decode_key(text: &str) -> Option<SearchKey> {
    let parts: Vec<_> = text.split(' ').collect();
    let number = |n: usize| parts.get(n)?.parse::<i64>().ok();
    let within = match parts.len() {
        1 => None,
        4 => {
            let rank = f64::from_bits(u64::from_str_radix(parts[2], 16).ok()?);
            Some(RankPosition { bottom: number(1)?, rank, id: number(3)? })
        }
        _ => return None,
    };
    Some(SearchKey { top: number(0)?, within })
}
