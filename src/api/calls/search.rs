//! Searching the words of all turns.

use super::schema::{CallStatus, example_instant};
use super::transcriptions::{Speaker, Transcription};
use crate::api::date_time::Instant;
use crate::api::error::{ApiError, List, Refused};
use crate::api::pagination::{ListQuery, default_limit};
use crate::api::reader::{Answer, Depth, Reader};
use crate::api::tag::Tag;
use crate::domain::{ConversationId, DriverId, Invalid, Wanted};
use crate::store::{self, Place, SearchKey, SearchQuery, Store};
use poem::Request;
use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

pub(in crate::api) struct SearchApi {
    pub(in crate::api) reader: Reader,
}

/// Which turn that matches comes first.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum SearchOrder {
    /// The one that matches best.
    Best,
    /// The one that was stored last.
    Newest,
}

/// A turn that was found, and of which call it is.
#[derive(Debug, Object)]
#[oai(example)]
struct SearchHit {
    #[oai(flatten)]
    transcription: Transcription,
    /// Who was called; null while that is not known.
    #[oai(nullable)]
    driver_id: Option<i64>,
    /// That driver's name.
    #[oai(nullable)]
    driver_name: Option<String>,
    /// Where the call stands.
    status: CallStatus,
    /// When the call began.
    call_start_time: Instant,
    /// HTML: the words that were found between `<mark>` and `</mark>`, with some of those around them; all else is
    /// escaped.
    snippet: String,
}

impl From<store::Hit> for SearchHit {
    fn from(hit: store::Hit) -> Self {
        Self {
            transcription: hit.turn.into(),
            driver_id: hit.driver_id.map(DriverId::get),
            driver_name: hit.driver_name,
            status: hit.status.into(),
            call_start_time: Instant(hit.call_start_time),
            snippet: hit.snippet.html(),
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
        }
    }
}

/// A page of what was found.
#[derive(Debug, Object)]
#[oai(example)]
struct SearchPage {
    /// The turns.
    data: Vec<SearchHit>,
    /// What to give as `cursor` for the next page; null on the last one.
    #[oai(nullable)]
    next_cursor: Option<String>,
    /// Whether more may follow.
    has_more: bool,
    /// How many turns match in all; only with `include_total=true`.
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
    /// At most how many stored turns could not be searched yet, since they wait to be indexed; 0 but for some time after
    /// an upgrade, or under a load that is kept up.
    unsearched: u64,
}

impl Example for SearchPage {
    fn example() -> Self {
        Self { data: vec![SearchHit::example()], next_cursor: None, has_more: false, total: None, unsearched: 0 }
    }
}

const FILTERS: [&str; 10] = [
    "q",
    "speaker_type",
    "conversation_id",
    "driver_id",
    "status",
    "started_after",
    "started_before",
    "said_after",
    "said_before",
    "order",
];

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl SearchApi {
    /// Search turns by their words
    ///
    /// `q` holds words, all of which must be in a turn; `"some words"` that follow each other; `AND`, `OR`, `NOT` in
    /// capitals and brackets; and `begin*` for words that begin so. Case does not matter, nor do accents of Latin
    /// and Greek letters. Both what was heard and what the platform's record says is searched, and turns that another one stands
    /// for are left out. In languages written without spaces, what stands between two punctuation marks is one word.
    ///
    /// A page may hold fewer turns than `limit`, even none, although more follow: so long as `has_more` is true, go on.
    #[oai(path = "/search", method = "get", operation_id = "search_transcriptions")]
    #[expect(clippy::too_many_arguments, reason = "the framework takes each query parameter as an argument")]
    async fn search_transcriptions(
        &self,
        request: &Request,
        /// What to search for.
        #[oai(validator(min_length = 1, max_length = 400))]
        q: Query<String>,
        /// Only what this one said.
        speaker_type: Query<Option<Speaker>>,
        /// Only turns of this call.
        conversation_id: Query<Option<String>>,
        /// Only turns of calls with this driver.
        driver_id: Query<Option<i64>>,
        /// Only turns of calls of this status.
        status: Query<Option<CallStatus>>,
        /// Only turns of calls that started at this time or later.
        started_after: Query<Option<Instant>>,
        /// Only turns of calls that started before this time.
        started_before: Query<Option<Instant>>,
        /// Only what was said at this time or later.
        said_after: Query<Option<Instant>>,
        /// Only what was said before this time.
        said_before: Query<Option<Instant>>,
        /// `best`, which is the default: the turns that match best among the 300 that were stored last come first, then
        /// the best of the 300 before them, and so on; or `newest`: those that were stored last come first.
        order: Query<Option<SearchOrder>>,
        /// Where the page before this one ended: its `next_cursor`.
        cursor: Query<Option<String>>,
        /// Greatest number of turns in the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
        /// Whether to count all turns that match, which takes time when they are many.
        #[oai(default)]
        include_total: Query<bool>,
    ) -> Result<Answer<SearchPage>, Refused<List>> {
        let list = ListQuery::of(request, &FILTERS)?;
        let query = SearchQuery {
            wanted: Wanted::parse(&q.0).map_err(refused("q"))?,
            speaker: speaker_type.0.map(Into::into),
            conversation_id: conversation_id
                .0
                .map(|id| ConversationId::new(&id))
                .transpose()
                .map_err(refused("conversation_id"))?,
            driver_id: driver_id.0.map(DriverId::new).transpose().map_err(refused("driver_id"))?,
            status: status.0.map(Into::into),
            started_after: started_after.0.map(|time| time.0),
            started_before: started_before.0.map(|time| time.0),
            said_after: said_after.0.map(|time| time.0),
            said_before: said_before.0.map(|time| time.0),
            order: match order.0.unwrap_or(SearchOrder::Best) {
                SearchOrder::Best => store::SearchOrder::Best,
                SearchOrder::Newest => store::SearchOrder::Newest,
            },
            after: list.key_in(cursor.0.as_deref(), read_key)?,
            limit: limit.0.into(),
            with_total: include_total.0,
        };
        let make = move |store: &dyn Store| {
            let found = store.search(&query)?;
            Ok(SearchPage {
                data: found.hits.into_iter().map(Into::into).collect(),
                has_more: found.next.is_some(),
                next_cursor: found.next.map(|key| list.cursor_behind(written(key))),
                total: found.total,
                unsearched: found.unsearched,
            })
        };
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }
}

fn refused(field: &'static str) -> impl Fn(Invalid) -> ApiError {
    move |rule| ApiError::field(field, rule)
}

/// A key as it stands in a cursor. The rank is written by its bits, since it must come back as it was.
fn written(key: SearchKey) -> String {
    match key.within {
        None => key.top.to_string(),
        Some(Place { bottom, rank, id }) => format!("{} {bottom} {:x} {id}", key.top, rank.to_bits()),
    }
}

fn read_key(text: &str) -> Option<SearchKey> {
    let parts: Vec<_> = text.split(' ').collect();
    let number = |n: usize| parts.get(n)?.parse::<i64>().ok();
    let within = match parts.len() {
        1 => None,
        4 => {
            let rank = f64::from_bits(u64::from_str_radix(parts[2], 16).ok()?);
            Some(Place { bottom: number(1)?, rank, id: number(3)? })
        }
        _ => return None,
    };
    Some(SearchKey { top: number(0)?, within })
}
