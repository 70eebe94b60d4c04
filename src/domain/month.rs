//! Dates with the name of their month, as `Date.toString` of JavaScript and Java, `ctime`, cookies and people write
//! them.
//!
//! The name leaves no doubt about the order of day and month.

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Returns the index of the name that a word is, or abbreviates with at least three letters.
fn place_of(word: &str, names: &[&str]) -> Option<usize> {
    let word = word.trim_end_matches('.').to_ascii_lowercase();
    // `Sept` and `Tues` are abbreviations, too.
    names.iter().position(|name| word.len() >= 3 && name.starts_with(&*word))
}

/// Returns a text with a named month in the order of ISO 8601, such as `Mon Sep 28 2026 12:00:05 GMT+0000`,
/// `Mon Sep 28 12:00:05 UTC 2026`, `28-Sep-2026 12:00:05` and `September 28, 2026 at 12:00:05 PM`.
pub(super) fn with_number_of_month(text: &str) -> Option<String> {
    let (mut year, mut month, mut day) = (None, None, None);
    let mut rest = Vec::new();
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty()).peekable();
    words.next_if(|word| place_of(word, &WEEKDAYS).is_some());
    for word in words {
        let parts: Vec<_> = match word.split('-').collect::<Vec<_>>()[..] {
            [day, month, year] if place_of(month, &MONTHS).is_some() => vec![day, month, year],
            _ => vec![word],
        };
        for part in parts {
            let digits = part.trim_end_matches('.');
            let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| digits.strip_suffix(end)).unwrap_or(digits);
            let field = match (digits.len(), place_of(part, &MONTHS)) {
                (_, Some(place)) => (&mut month, format!("{:02}", place + 1)),
                (4, _) if is_number(digits) => (&mut year, digits.to_owned()),
                (1 | 2, _) if is_number(digits) => (&mut day, format!("{digits:0>2}")),
                _ if part.eq_ignore_ascii_case("at") => continue,
                _ => {
                    rest.push(part);
                    continue;
                }
            };
            if field.0.replace(field.1).is_some() {
                return None;
            }
        }
    }
    Some(format!("{}-{}-{} {}", year?, month?, day?, rest.join(" ")))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
