//! Events that could not be parsed but still name calls.
//!
//! Erasing a call also erases such an event, but only if its body has the call's id as the value of a `conversation_id`
//! key. Bodies may be megabytes long, so they are searched on reading connections and not in the erasing transaction.

use super::erase;
use super::error::Context as _;
use crate::domain::ConversationId;
use crate::domain::repair;
use crate::store::{ExpiredEvent, NamingEvent, Result, ScanPage};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// Maximum size of the bodies that one read searches, in bytes. A single longer body is also accepted.
const MAX_READ_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of events that one read searches.
const MAX_READ_EVENTS: usize = 200;

const KEY: &str = "conversation_id";

/// Searches the next events after `after` that belong to no call, and returns those that name one of these calls.
pub(super) fn events_naming(
    connection: &Connection,
    calls: &HashSet<ConversationId>,
    after: i64,
) -> Result<ScanPage<NamingEvent>> {
    const CONTEXT: &str = "searching unreadable events";
    let mut select = connection
        .prepare_cached("SELECT id, body FROM webhook_events WHERE conversation_id IS NULL AND id > ?1 ORDER BY id")
        .context(CONTEXT)?;
    let mut rows = select.query([after]).context(CONTEXT)?;
    let (mut found, mut bytes, mut events) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next().context(CONTEXT)? {
        let id = row.get(0).context(CONTEXT)?;
        let (ValueRef::Text(body) | ValueRef::Blob(body)) = row.get_ref(1).context(CONTEXT)? else { continue };
        let mut named = HashSet::new();
        each_conversation_id(body, &mut |id| {
            named.extend(ConversationId::new(id).ok().and_then(|id| calls.get(&id)).cloned());
        });
        if !named.is_empty() {
            let event = ExpiredEvent { id, bytes: body.len() };
            found.push(NamingEvent { event, calls: named.into_iter().collect() });
        }
        bytes += body.len();
        events += 1;
        if bytes >= MAX_READ_BYTES || events >= MAX_READ_EVENTS {
            return Ok(ScanPage { rows: found, next: Some(id) });
        }
    }
    Ok(ScanPage { rows: found, next: None })
}

/// Returns whether a body names an erased call.
pub(super) fn names_erased(connection: &Connection, body: &[u8]) -> Result<bool> {
    let mut ids = HashSet::new();
    each_conversation_id(body, &mut |id| {
        if ids.len() < MAX_READ_EVENTS {
            ids.extend(ConversationId::new(id).ok());
        }
    });
    for id in ids {
        if erase::is_erased(connection, &id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Passes each string value of a `conversation_id` key in the body to `each`, trimmed and at any depth. A body that is
/// no valid JSON, such as one in UTF-16, is repaired first.
fn each_conversation_id(body: &[u8], each: &mut dyn FnMut(&str)) {
    if each_in_json(body, each) {
        return;
    }
    let (repaired, _) = repair::repaired(body);
    if !each_in_json(repaired.as_bytes(), each) {
        scan(repaired.as_bytes(), each);
    }
}

/// Searches a JSON body. Returns false if the body is no JSON.
fn each_in_json(body: &[u8], each: &mut dyn FnMut(&str)) -> bool {
    let mut found = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let is_json = deserializer.deserialize_any(Ids(&mut found)).is_ok() && deserializer.end().is_ok();
    if is_json {
        for id in found {
            each(id.trim());
        }
    }
    is_json
}

/// Collects the values of `conversation_id` keys in a JSON value.
struct Ids<'a>(&'a mut Vec<String>);

impl<'de> serde::de::DeserializeSeed<'de> for Ids<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ids<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == KEY { map.next_value_seed(Id(self.0))? } else { map.next_value_seed(Ids(self.0))? }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Ids(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads the value of a `conversation_id` key.
struct Id<'a>(&'a mut Vec<String>);

impl<'de> serde::de::DeserializeSeed<'de> for Id<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Id<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(text.to_owned());
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(number.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.push(number.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Ids(self.0).visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Id(self.0))?.is_some() {}
        Ok(())
    }
}

/// Searches a body that is no JSON, such as a truncated one, for a quoted key, a colon and a quoted value.
fn scan(body: &[u8], each: &mut dyn FnMut(&str)) {
    let blanks = |mut at: usize| {
        while body.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut at = 0;
    while let Some(quote) = body[at..].iter().position(|byte| *byte == b'"').map(|offset| at + offset) {
        at = quote + 1;
        if !(body[at..].starts_with(b"c") || body[at..].starts_with(b"\\u")) {
            continue;
        }
        let Some((key, end)) = literal(body, quote, KEY.len()) else { continue };
        let colon = blanks(end);
        if key != KEY || body.get(colon) != Some(&b':') {
            continue;
        }
        // The id has no surrounding whitespace.
        if let Some((id, end)) = literal(body, blanks(colon + 1), ConversationId::MAX_CHARS + 16) {
            each(id.trim());
            at = end;
        }
    }
}

/// Reads a JSON string of at most `max_chars` characters that begins at this quote. Also returns the position after it.
fn literal(body: &[u8], quote: usize, max_chars: usize) -> Option<(String, usize)> {
    if body.get(quote) != Some(&b'"') {
        return None;
    }
    // An escaped character has at most twelve bytes, as a surrogate pair.
    let longest = &body[quote..body.len().min(quote + 2 + 12 * (max_chars + 1))];
    let mut end = 1;
    loop {
        match longest.get(end)? {
            b'"' => break,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    let text: String = serde_json::from_slice(&longest[..=end]).ok()?;
    (text.chars().count() <= max_chars).then_some((text, quote + end + 1))
}

#[cfg(test)]
mod tests {
    use super::each_conversation_id;

    fn found(body: &[u8]) -> Vec<String> {
        let mut ids = Vec::new();
        each_conversation_id(body, &mut |id| ids.push(id.to_owned()));
        ids
    }

    #[test]
    fn ids_are_found_at_their_keys_only() {
        for (body, ids) in [
            (r#"{"type":"x","data":{"conversation_id":"a"}}"#, vec!["a"]),
            (r#"{"conversation_id":"a","b":[{"c":[{"conversation_id":"b"}]}]}"#, vec!["a", "b"]),
            (r#"{"conversation_id":"a","conversation_id":"b"}"#, vec!["a", "b"]),
            (r#"{"conversation\u005fid":"\u0061"}"#, vec!["a"]),
            (r#"{"conversation_id":" a\n"}"#, vec!["a"]),
            (r#"{"conversation_id":7}"#, vec!["7"]),
            (r#"{"conversation_id":["a",{"conversation_id":"b"}]}"#, vec!["a", "b"]),
            (r#"{"type":"type","data":{"type":null,"id":"conversation_id"}}"#, vec![]),
            (r#"{"words":"\"conversation_id\":\"a\""}"#, vec![]),
            (r#"["conversation_id","a"]"#, vec![]),
            // Bodies that are no JSON.
            (r#"{"type":"x","data":{"conversation_id":"a","transcript":[{"#, vec!["a"]),
            (r#"{"conversation_id" :  "a", cut"#, vec!["a"]),
            (r#"{"conversation\u005fid":"\u0061\"b", cut"#, vec!["a\"b"]),
            (r#"{"other_conversation_id":"a", cut"#, vec![]),
            (r#"{"conversation_id":"a"#, vec![]),
            (r#"{"conversation_id":NaN,"conversation_id":"a"}"#, vec!["a"]),
            (r#"{"type":"a","id":"a", cut"#, vec![]),
            (r#"{"words":"\"conversation_id\":\"a\"", cut"#, vec![]),
            (r#"{"conversation_id":"a","conversation_id":"b"} trailing"#, vec!["a", "b"]),
            ("\u{feff}{\"conversation_id\":\"a\"}", vec!["a"]),
        ] {
            assert_eq!(found(body.as_bytes()), ids, "{body}");
        }
        assert_eq!(found(b"{\"conversation_id\":\"a\",\"words\":\"\xff\""), ["a"]);
        assert_eq!(found(&[b"[".repeat(5000), b"{\"conversation_id\":\"a\"}".to_vec()].concat()), ["a"]);
    }

    #[test]
    fn texts_made_of_quotes_and_backslashes_take_no_longer_than_others() {
        for piece in ["\\\"", "\"", "\"\\", "\"conversation_id\":", "\"conversation_id\":\"\\\""] {
            let body = piece.repeat((4 << 20) / piece.len());
            let start = std::time::Instant::now();
            assert_eq!(found(body.as_bytes()).iter().filter(|id| *id == "a").count(), 0);
            assert!(start.elapsed().as_secs() < 20, "{piece}: {:?}", start.elapsed());
        }
    }
}
