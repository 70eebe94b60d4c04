//! Detects unreplaced placeholders of templates, such as `{{system__conversation_id}}` or `undefined`.
//!
//! A tool whose variables are not replaced sends one text for every call. As a conversation id it would merge all calls
//! of the fleet.

use super::Invalid;

/// Brackets around a variable's name in common template languages.
const BRACKETS: [(&str, &str); 21] = [
    ("{{{", "}}}"),
    ("{{", "}}"),
    ("${", "}"),
    ("#{", "}"),
    ("@{", "}"),
    ("{%", "%}"),
    ("{$", "}"),
    ("{!", "}"),
    ("{", "}"),
    ("<%=", "%>"),
    ("<%", "%>"),
    ("<<", ">>"),
    ("<", ">"),
    ("[[", "]]"),
    ("[", "]"),
    ("%(", ")s"),
    ("$(", ")"),
    ("(", ")"),
    ("%%", "%%"),
    ("%", "%"),
    ("*|", "|*"),
];

/// Brackets that mark a variable at any position of a text.
const INNER_BRACKETS: [(&str, &str); 3] = [("{{", "}}"), ("${", "}"), ("<%", "%>")];

/// Texts that programs write for a missing value.
const NULL_TEXTS: [&str; 17] = [
    "undefined",
    "null",
    "none",
    "nil",
    "nan",
    "<nil>",
    "(null)",
    "n/a",
    "n.a.",
    "unknown",
    "true",
    "false",
    "-",
    "?",
    "\"\"",
    "''",
    "[object object]",
];

/// Letters of the names of variables that are sent instead of their value.
const VARIABLE_NAMES: [&str; 3] = ["conversationid", "systemconversationid", "yourconversationid"];

/// Ends of a text that was put together with a missing value, as in `conv_undefined`.
const MISSING_ENDS: [&str; 3] = ["undefined", "null", "[object object]"];

/// Length of the longest of these names, in bytes.
const MAX_NAME_BYTES: usize = "system__conversation_id".len();

/// Returns the unreplaced variable of a text that is nothing but a placeholder.
pub fn placeholder(text: &str) -> Option<&str> {
    let text = text.trim();
    let unquoted = ['"', '\'', '`'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    if let Some(inner) = unquoted.filter(|inner| !inner.is_empty()) {
        return placeholder(inner);
    }
    let is = |names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    if is(&NULL_TEXTS) || is_name(text) || text.to_ascii_lowercase().starts_with("[object ") {
        return Some(text);
    }
    let bracketed = BRACKETS.iter().find_map(|(open, close)| named(text.strip_prefix(open)?.strip_suffix(close)?));
    let prefixed = || named(text.strip_prefix('$')?);
    bracketed.or_else(prefixed)
}

/// Returns the unreplaced variable of a text that contains a placeholder.
pub fn unfilled(text: &str) -> Option<&str> {
    // Fast path for nearly all identifiers.
    if text.len() > MAX_NAME_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return None;
    }
    let part = |(open, close): &(&str, &str)| {
        let (_, rest) = text.split_once(open)?;
        named(rest.split_once(close)?.0)
    };
    // No identifier contains these.
    let braces = || ["{{", "}}", "<?"].iter().any(|mark| text.contains(mark)).then_some(text);
    let ends = || {
        let lower = text.to_ascii_lowercase();
        let before = MISSING_ENDS.iter().find_map(|end| lower.strip_suffix(end))?;
        before.ends_with(['_', '-', ':', '.', '/']).then_some(text)
    };
    placeholder(text).or_else(|| INNER_BRACKETS.iter().find_map(part)).or_else(braces).or_else(ends)
}

/// Returns whether a text is only the name of a variable, such as `__conversation_id__` and `YOUR-CONVERSATION-ID`.
fn is_name(text: &str) -> bool {
    let marks = |byte: u8| matches!(byte, b'_' | b'-' | b'.' | b':' | b'#' | b'@' | b' ');
    if text.len() > 2 * MAX_NAME_BYTES || !text.bytes().all(|byte| byte.is_ascii_alphabetic() || marks(byte)) {
        return false;
    }
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
    VARIABLE_NAMES.iter().any(|name| letters.eq_ignore_ascii_case(name))
}

/// Returns the error of a field that contains a placeholder.
pub(super) fn not_filled_in(variable: &str) -> Invalid {
    let shown: String = variable.chars().take(60).collect();
    Invalid(format!("the variable was not replaced by its value, got {shown:?}").into())
}

/// Returns the name of a variable: it begins with a letter or `_`, and is neither a GUID nor part of an address.
fn named(text: &str) -> Option<&str> {
    let name = text.trim();
    let first = name.chars().next()?;
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ' ' | ':' | '|' | '$');
    let guid = name.len() >= 32 && name.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    (name.len() <= 200 && (first.is_alphabetic() || first == '_') && name.chars().all(in_name) && !guid).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_left_unfilled_is_told_by_its_variable() {
        for (text, variable) in [
            ("{{system__conversation_id}}", "system__conversation_id"),
            (" {{ system__conversation_id }} ", "system__conversation_id"),
            ("{{{id}}}", "id"),
            ("{conversation_id}", "conversation_id"),
            ("${conversationId}", "conversationId"),
            ("$conversation_id", "conversation_id"),
            ("%conversation_id%", "conversation_id"),
            ("%(id)s", "id"),
            ("<conversation_id>", "conversation_id"),
            ("<%= id %>", "id"),
            ("[conversation id]", "conversation id"),
            ("\"{{id}}\"", "id"),
            ("undefined", "undefined"),
            ("NULL", "NULL"),
            ("None", "None"),
            ("nil", "nil"),
            ("NaN", "NaN"),
            ("[object Object]", "[object Object]"),
            ("[object Undefined]", "[object Undefined]"),
            ("conversation_id", "conversation_id"),
            ("system__conversation_id", "system__conversation_id"),
        ] {
            assert_eq!(placeholder(text), Some(variable), "{text}");
        }
        for text in [
            "{{1.conversation_id}}",
            "{{trigger.body['id']}}",
            "={{ $('Webhook').item.json.id }}",
            "{{}}",
            "{{system__conversation_id",
            "{system__conversation_id}}",
            "__CONVERSATION_ID__",
            "YOUR-CONVERSATION-ID",
            "@conversation_id",
            ":conversationId",
            "#conversation_id#",
            "{$conversation.id}",
            "{!id}",
            "<?= $id ?>",
            "%%id%%",
            "*|ID|*",
            "false",
            "n.a.",
            "-",
            "conv_undefined",
            "call-null",
            "conv-[object Object]",
        ] {
            assert!(unfilled(text).is_some(), "{text}");
        }
        assert_eq!(unfilled("conv_{{id}}"), Some("id"));
        assert_eq!(unfilled("call-${id}-1"), Some("id"));
    }

    #[test]
    fn an_identifier_is_no_placeholder() {
        for text in [
            "conv_1901kaj4pr1penza6bbkscg6hgkc",
            "{6B29FC40-CA47-1067-B31D-00DD010662DA}",
            "{c0ffee40-ca47-1067-b31d-00dd010662da}",
            "<a84b4c76e66710@pc33.example.com>",
            "nullify",
            "conv_nullify",
            "conversation_id_7",
            "conversation",
            "undefined-1",
            "42",
            "%",
            "$",
            "<>",
            "{}",
            "100%",
            "",
        ] {
            assert_eq!(unfilled(text), None, "{text}");
        }
    }
}
