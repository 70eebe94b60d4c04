//! Makes results short enough for a language model: without nulls, and with long texts and lists cut.

use serde_json::{Map, Value};

/// Maximum size of a result, in bytes of JSON. Clients reject or truncate results that are much longer.
pub(super) const MAX_RESULT_BYTES: usize = 40_000;

/// Maximum length of a text in a result, in characters.
const MAX_TEXT_CHARS: usize = 4000;

/// Minimum length to which a text is cut, in characters.
const MIN_TEXT_CHARS: usize = 60;

/// Maximum number of elements of a list in a result.
const MAX_ELEMENTS: usize = 1000;

/// Fields with JSON of any form, which are left out if nothing else helps.
const OPEN_FIELDS: [&str; 2] = ["analysis", "metrics"];

/// Lists whose last elements are the newest; their first ones are cut.
const OLDEST_FIRST: [&str; 1] = ["days"];

/// Fields that must stay whole.
const WHOLE_FIELDS: [&str; 2] = ["next_cursor", "conversation_id"];

/// Removes all nulls.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name, without_nulls(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(elements) => elements.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Removes the fields of an object that are not in `fields`.
pub(super) fn retain_fields(object: &mut Value, fields: &[&str]) {
    if let Value::Object(object) = object {
        object.retain(|name, _| fields.contains(&name.as_str()));
    }
}

/// Returns the size of a value as JSON, in bytes.
pub(super) fn size(value: &Value) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

/// Cuts the longest texts. Returns true if there were any.
pub(super) fn cut_texts(value: &mut Value) -> bool {
    cut(value, MAX_TEXT_CHARS, MAX_ELEMENTS)
}

/// Cuts texts and lists until the JSON is at most `max_bytes` long. Returns true if anything was cut.
pub(super) fn fit(value: &mut Value, max_bytes: usize) -> bool {
    let (mut chars, mut elements, mut was_cut) = (MAX_TEXT_CHARS, MAX_ELEMENTS, false);
    while size(value) > max_bytes {
        if chars > MIN_TEXT_CHARS {
            chars /= 2;
        } else if elements > 1 {
            elements /= 2;
        } else {
            remove_open_fields(value);
            return true;
        }
        // Lists are long if texts are not, so both become shorter together.
        elements = elements.min(chars / 4).max(1);
        was_cut |= cut(value, chars.max(MIN_TEXT_CHARS), elements);
    }
    was_cut
}

fn cut(value: &mut Value, max_chars: usize, max_elements: usize) -> bool {
    match value {
        Value::String(text) => match text.char_indices().nth(max_chars) {
            Some((end, _)) => {
                text.truncate(end);
                text.push('…');
                true
            }
            None => false,
        },
        Value::Array(elements) => {
            let was_cut = elements.len() > max_elements;
            elements.truncate(max_elements);
            elements.iter_mut().fold(was_cut, |was_cut, element| cut(element, max_chars, max_elements) | was_cut)
        }
        Value::Object(fields) => fields.iter_mut().fold(false, |was_cut, (name, value)| {
            if WHOLE_FIELDS.contains(&name.as_str()) {
                return was_cut;
            }
            let mut was_cut = was_cut;
            if let (Value::Array(elements), true) = (&mut *value, OLDEST_FIRST.contains(&name.as_str())) {
                let surplus = elements.len().saturating_sub(max_elements);
                elements.drain(..surplus);
                was_cut |= surplus > 0;
            }
            cut(value, max_chars, max_elements) | was_cut
        }),
        _ => false,
    }
}

fn remove_open_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OPEN_FIELDS.contains(&name.as_str()));
            fields.values_mut().for_each(remove_open_fields);
        }
        Value::Array(elements) => elements.iter_mut().for_each(remove_open_fields),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_result_has_no_nulls() {
        let mut row = without_nulls(json!({ "a": null, "b": [{ "c": null, "d": 1 }], "e": "x" }));
        assert_eq!(row, json!({ "b": [{ "d": 1 }], "e": "x" }));
        retain_fields(&mut row, &["a", "e"]);
        assert_eq!(row, json!({ "e": "x" }));
    }

    #[test]
    fn whatever_a_result_holds_it_becomes_short_enough() {
        let key = "k".repeat(200);
        let open: Map<_, _> = (0..1000).map(|n| (format!("{key}{n}"), json!("x"))).collect();
        for mut value in [
            json!({ "text": "ü".repeat(1_000_000) }),
            json!({ "rows": vec![json!({ "text": "\"".repeat(10_000) }); 1000] }),
            json!({ "rows": vec![vec!["x".repeat(100); 300]; 300] }),
            json!({ "call": { "analysis": open } }),
            json!({ "days": vec![json!({ "date": "2026-09-28", "calls": 7, "mean": 160.25 }); 5000] }),
        ] {
            assert!(fit(&mut value, MAX_RESULT_BYTES));
            assert!(size(&value) <= MAX_RESULT_BYTES, "{}", size(&value));
        }
        let mut short = json!({ "text": "x".repeat(5000) });
        assert!(!fit(&mut short.clone(), MAX_RESULT_BYTES));
        assert!(cut_texts(&mut short));
    }

    #[test]
    fn the_newest_days_stay() {
        let mut value = json!({ "days": (0..9000).collect::<Vec<_>>(), "drivers": (0..9000).collect::<Vec<_>>() });
        fit(&mut value, 10_000);
        assert_eq!((value["days"].as_array().unwrap().last(), &value["drivers"][0]), (Some(&json!(8999)), &json!(0)));
    }
}
