//! Searching the words of turns: what a query means, what is found, and how it is shown.

use crate::support::random::for_any;
use crate::support::search::{ask, found, hits, indexed, search};
use crate::support::service::Service;
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use proptest::prelude::{Strategy as _, any, prop_oneof};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stores messages; the first one becomes the turn of number 1.
fn say(service: &Service, messages: &[&str]) {
    for (n, message) in messages.iter().enumerate() {
        let mut turn = turn("conv_a", n);
        turn["message"] = Value::from(*message);
        service.deliver(&turn).expect(201);
    }
}

const MESSAGES: [&str; 8] = [
    "The reefer reads forty five degrees.",
    "The trailer alarm is on, and the reefer is off.",
    "Dock door fourteen.",
    "The door of the dock is shut.",
    "Está en el café de Łódź, Ångström!",
    "ΚΑΛΗΜΕΡΑ, это Москва. नमस्ते दुनिया",
    "Load-4711: temp. is 38.5, I'm sure",
    "東京の倉庫、冷凍車です",
];

#[test]
fn each_operator_means_what_it_says_in_the_tail_as_in_the_index() {
    let service = Service::start();
    say(&service, &MESSAGES);
    let queries: [(&str, &[i64]); 32] = [
        ("reefer", &[1, 2]),
        ("REEFER", &[1, 2]),
        ("reefer alarm", &[2]),
        ("reefer AND alarm", &[2]),
        ("reefer and alarm", &[2]),
        ("alarm OR fourteen", &[2, 3]),
        ("fourteen OR reefer alarm", &[2, 3]),
        ("(fourteen OR reefer) door", &[3]),
        ("reefer NOT alarm", &[1]),
        ("reefer AND NOT alarm", &[1]),
        ("reefer NOT (alarm OR degrees)", &[]),
        ("door OR reefer NOT alarm", &[1, 3, 4]),
        ("\"dock door\"", &[3]),
        ("“dock door”", &[3]),
        ("door dock", &[3, 4]),
        ("\"Dock, do\"*", &[3]),
        ("fourt*", &[3]),
        ("FO*", &[1, 3]),
        ("d* NOT fourteen", &[1, 4, 5]),
        ("cafe", &[5]),
        ("CAFÉ", &[5]),
        ("angstrom - \"el cafe\"", &[5]),
        ("καλημερα МОСКВА", &[6]),
        ("नमस्ते", &[6]),
        ("दुनि*", &[6]),
        ("load 4711", &[7]),
        ("load-4711", &[7]),
        ("4711-load", &[]),
        ("38.5 i'm", &[7]),
        ("東京*", &[8]),
        ("冷凍車*", &[8]),
        ("or OR and", &[2]),
    ];
    for state in ["in the tail", "in the index"] {
        for (q, wanted) in queries {
            assert_eq!(found(&service, q, ""), wanted.iter().copied().collect(), "{q}, {state}");
        }
        indexed(&service);
    }
}

#[test]
fn a_query_that_is_none_is_refused_with_the_place_and_the_rule() {
    let service = Service::start();
    let mut errors = Wording::default();
    for q in [
        "",
        "  ",
        "-- !",
        "()",
        "a \"dock",
        "a \"--\"",
        "(dock",
        "é (dock OR (a b)",
        "dock) door",
        "dock ()",
        "OR dock",
        "dock AND AND door",
        "NOT dock",
        "dock OR",
        "*",
        "*dock",
        "do*ck",
        "do**",
        &"a ".repeat(33),
        &"a".repeat(401),
    ] {
        let body = ask(&service, q, "").expect_error(400);
        let details = body["details"].as_str().unwrap();
        assert!(details.starts_with("q: "), "{q}: {details}");
        errors.add_error(q, details);
    }
    assert_snapshot!("expression_errors", errors);
    let missing = service.get("/api/v1/search").expect_error(400);
    assert!(missing["details"].as_str().unwrap().starts_with("q: "), "{missing}");
    for (more, field) in [
        ("&speaker_type=user", "speaker_type"),
        ("&driver_id=0", "driver_id"),
        ("&status=done", "status"),
        ("&started_after=yesterday", "started_after"),
        ("&said_before=2026-09-31", "said_before"),
        ("&order=oldest", "order"),
        ("&limit=1001", "limit"),
        ("&cursor=abc", "cursor"),
        ("&conversation_id=", "conversation_id"),
        ("&speaker=agent", "speaker"),
        ("&q=b", "q"),
    ] {
        let body = ask(&service, "a", more).expect_error(400);
        assert!(body["details"].as_str().unwrap().starts_with(&format!("{field}: ")), "{more}: {body}");
    }
}

#[test]
fn filters_narrow_what_is_found_and_each_hit_names_its_call() {
    let service = Service::start();
    service.put("/api/v1/drivers/7", &json!({"name": "Jo Brandt"})).expect(201);
    service.put("/api/v1/dispatches/conv_b", &json!({"driver_id": 7})).expect(201);
    let turns = [
        ("conv_a", "user", "2026-09-01T10:00:00Z"),
        ("conv_a", "agent", "2026-09-01T10:00:10Z"),
        ("conv_b", "agent", "2026-09-02T10:00:00Z"),
        ("conv_b", "user", "2026-09-02T10:00:10Z"),
        ("conv_c", "user", "2026-09-03T10:00:00Z"),
    ];
    for (call, speaker, time) in turns {
        let turn = json!({"conversation_id": call, "speaker": speaker, "message": "The reefer.", "timestamp": time});
        service.deliver(&turn).expect(201);
    }
    service.patch("/api/v1/calls/conv_b", &json!({"status": "completed"})).expect(200);
    let filters: [(&str, &[i64]); 16] = [
        ("", &[1, 2, 3, 4, 5]),
        ("&speaker_type=driver", &[1, 4, 5]),
        ("&speaker_type=agent&status=completed", &[3]),
        ("&driver_id=7", &[3, 4]),
        ("&driver_id=8", &[]),
        ("&status=in_progress", &[1, 2, 5]),
        ("&status=failed", &[]),
        ("&conversation_id=conv_a", &[1, 2]),
        ("&conversation_id=conv_x", &[]),
        ("&started_after=2026-09-02T10:00:00Z", &[3, 4, 5]),
        ("&started_before=2026-09-02T10:00:00Z", &[1, 2]),
        ("&started_after=2026-09-01T10:00:05Z&started_before=2026-09-03T00:00:00Z", &[3, 4]),
        ("&said_after=2026-09-01T10:00:10Z", &[2, 3, 4, 5]),
        ("&said_before=2026-09-01T10:00:10Z", &[1]),
        ("&said_after=2026-09-02T10:00:05Z&conversation_id=conv_b", &[4]),
        ("&conversation_id=conv_a&driver_id=7", &[]),
    ];
    for state in ["in the tail", "in the index"] {
        for (filter, wanted) in filters {
            for order in ["best", "newest"] {
                let page = search(&service, "reefer", &format!("{filter}&order={order}&include_total=true"));
                let ids: BTreeSet<_> = hits(&page).iter().map(|hit| hit["id"].as_i64().unwrap()).collect();
                assert_eq!(ids, wanted.iter().copied().collect(), "{filter}, {order}, {state}");
                assert_eq!(page["total"], wanted.len(), "{filter}, {order}, {state}");
            }
        }
        indexed(&service);
    }
    let page = search(&service, "reefer", "&order=newest&limit=2");
    let ids: Vec<_> = hits(&page).iter().map(|hit| hit["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [5, 4]);
    let present = search(&service, "reefer", "&order=desc&limit=2");
    assert_eq!(present["data"], page["data"], "the present name of the same order");
    let of_turn = service.get("/api/v1/calls/conv_b/transcriptions").expect(200).json()["data"][1].clone();
    let hit = hits(&page)[1].as_object().unwrap();
    for (name, value) in of_turn.as_object().unwrap() {
        assert_eq!(&hit[name], value, "{name}");
    }
    assert_eq!((&hit["driver_id"], &hit["driver_name"]), (&json!(7), &json!("Jo Brandt")));
    assert_eq!((&hit["status"], &hit["call_start_time"]), (&json!("completed"), &json!("2026-09-02T10:00:00.000000Z")));
    assert_eq!(hit["snippet"], "The <mark>reefer</mark>.");
    let fields: Vec<_> = hit.keys().skip(of_turn.as_object().unwrap().len()).collect();
    assert_eq!(fields, ["driver_id", "driver_name", "status", "call_start_time", "snippet", "answered_by", "channel"]);
}

#[test]
fn a_snippet_marks_what_was_found_and_everything_else_is_text() {
    let service = Service::start();
    let long = format!("{} needle {}", "hay ".repeat(200), "straw ".repeat(200));
    say(
        &service,
        &[
            "<script>alert('x')</script> & \"reefer\" <mark>no</mark>",
            "\u{202e}שלום\u{202c} העולם reefer مرحبا",
            "a \u{1}b\u{2} reefer \u{1}",
            &long,
            "<b>reefer<b>trailer</b>",
        ],
    );
    let snippets = [
        (
            "reefer alert",
            "&lt;script&gt;<mark>alert</mark>(&#39;x&#39;)&lt;/script&gt; &amp; &quot;<mark>reefer</mark>&quot; \
             &lt;mark&gt;no&lt;/mark&gt;",
        ),
        ("העולם", "\u{202e}שלום\u{202c} <mark>העולם</mark> reefer مرحبا"),
        ("a b reefer", "<mark>a</mark> \u{fffd}<mark>b</mark>\u{fffd} <mark>reefer</mark> \u{fffd}"),
        ("\"reefer b trailer\"", "&lt;b&gt;<mark>reefer&lt;b&gt;trailer</mark>&lt;/b&gt;"),
    ];
    for state in ["in the tail", "in the index"] {
        for (q, wanted) in snippets {
            let page = search(&service, q, "");
            assert_eq!(hits(&page).len(), 1, "{q}, {state}: {page}");
            assert_eq!(hits(&page)[0]["snippet"], wanted, "{q}, {state}");
        }
        let page = search(&service, "needle", "");
        let snippet = hits(&page)[0]["snippet"].as_str().unwrap();
        assert!(snippet.contains(" <mark>needle</mark> "), "{snippet}");
        assert!(snippet.starts_with('…') && snippet.ends_with('…') && snippet.len() < 300, "{snippet}");
        indexed(&service);
    }
}

/// All pages of a search, with their cursors followed.
fn all_pages(service: &Service, q: &str, more: &str) -> Vec<i64> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = search(service, q, &format!("{more}{cursor}"));
        ids.extend(hits(&page).iter().map(|hit| hit["id"].as_i64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else {
            assert_eq!(page["has_more"], false);
            return ids;
        };
        assert_eq!(page["has_more"], true);
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn pages_hold_each_turn_once_while_turns_arrive() {
    const STORED: usize = 700;
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    let message = |n: usize| {
        let mut turn = turn(&format!("conv_{}", n % 5), n);
        turn["message"] = Value::from(format!("reefer {} {}", "reefer ".repeat(n % 4), "word ".repeat(n % 7)));
        turn
    };
    for n in 0..STORED {
        service.deliver(&message(n)).expect(201);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in STORED.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                service.deliver(&message(n)).expect(201);
            }
        });
        for (order, limit) in [("best", 37), ("newest", 37), ("best", 300), ("newest", 1000)] {
            for filter in ["", "&conversation_id=conv_2", "&speaker_type=agent"] {
                let ids = all_pages(&service, "reefer", &format!("&order={order}&limit={limit}{filter}"));
                let before: Vec<_> = ids.iter().filter(|id| usize::try_from(**id).unwrap() <= STORED).collect();
                let once: BTreeSet<_> = ids.iter().collect();
                assert_eq!(once.len(), ids.len(), "{order}{filter}: a turn came twice");
                let wanted = (0..STORED).filter(|n| match filter {
                    "" => true,
                    "&speaker_type=agent" => n % 2 == 1,
                    _ => n % 5 == 2,
                });
                assert_eq!(before.len(), wanted.count(), "{order}{filter}: a turn is missing");
                if order == "newest" {
                    assert!(ids.is_sorted_by(|a, b| a > b), "the newest come first");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // What matches best among those stored last: four times the word and nothing else.
    let best = search(&service, "reefer", "&limit=1");
    assert_eq!(hits(&best)[0]["message_text"].as_str().unwrap().matches("reefer").count(), 4, "{best}");
    // A cursor belongs to its query.
    let cursor = search(&service, "reefer", "&limit=1")["next_cursor"].as_str().unwrap().to_owned();
    ask(&service, "word", &format!("&cursor={cursor}")).expect_error(400);
    ask(&service, "reefer", &format!("&order=newest&cursor={cursor}")).expect_error(400);
    ask(&service, "reefer", &format!("&limit=1000&cursor={cursor}")).expect(200);
}

#[test]
fn no_query_makes_the_search_fail() {
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    say(&service, &MESSAGES);
    let pieces = "(AND|OR|NOT|NEAR|and|\\(|\\)|\"|“|\\*| |\\^|:|-|\\+|'|reefer|d|é|\u{301}|नम|東|[^a]|\\PC){0,30}";
    let queries = prop_oneof![pieces.prop_map(|text| text), any::<String>()];
    for_any(700, &queries, |q| {
        let answer = ask(&service, &q, "");
        assert!(matches!(answer.status, 200 | 400), "{q:?}: {} {}", answer.status, answer.text);
    });
    indexed(&service);
    for_any(700, &queries, |q| {
        let answer = ask(&service, &q, "&order=newest&include_total=true");
        assert!(matches!(answer.status, 200 | 400), "{q:?}: {} {}", answer.status, answer.text);
    });
}

#[test]
fn a_prefix_of_very_many_words_finds_each_turn_once_whatever_stands_beside_it() {
    const TURNS: usize = 700;
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    // Each tenth turn has a word of its own that begins with `q`; each thirtieth of these the word `rare`, as turn 5
    // has.
    let message = |n: usize| {
        let wide = if n.is_multiple_of(10) { format!("Qx{n}") } else { "other".to_owned() };
        let rare = if n.is_multiple_of(30) || n == 5 { " rare" } else { "" };
        format!("word {wide}{rare} {}", if n.is_multiple_of(2) { "even" } else { "odd" })
    };
    for n in 0..TURNS {
        let mut turn = turn("conv_a", n);
        turn["message"] = Value::from(message(n));
        service.deliver(&turn).expect(201);
    }
    let wanted = |is: &dyn Fn(usize) -> bool| (1..).zip(0..TURNS).filter(|(_, n)| is(*n)).map(|(id, _)| id).collect();
    let (wide, rare) = (|n: usize| n.is_multiple_of(10), |n: usize| n.is_multiple_of(30) || n == 5);
    let cases: [(&str, BTreeSet<i64>); 8] = [
        ("q*", wanted(&wide)),
        ("QX* word", wanted(&wide)),
        ("rare q*", wanted(&|n| wide(n) && rare(n))),
        ("rare OR qx*", wanted(&|n| wide(n) || rare(n))),
        ("rare NOT q*", wanted(&|n| rare(n) && !wide(n))),
        ("word NOT (q* OR odd)", wanted(&|n| n.is_multiple_of(2) && !wide(n))),
        ("(q* NOT rare) even", wanted(&|n| wide(n) && !rare(n))),
        ("q* odd", BTreeSet::new()),
    ];
    for state in ["as it is", "in the index"] {
        for (q, expected) in &cases {
            for (order, limit) in [("newest", 20), ("best", 7), ("best", 1000)] {
                let (mut ids, mut cursor) = (Vec::new(), String::new());
                loop {
                    let page = search(&service, q, &format!("&order={order}&limit={limit}&include_total=true{cursor}"));
                    assert_eq!(page["total"], expected.len(), "{q}, {state}");
                    ids.extend(hits(&page).iter().map(|hit| hit["id"].as_i64().unwrap()));
                    match page["next_cursor"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                if order == "newest" {
                    assert!(ids.is_sorted_by(|a, b| a > b), "{q}, {state}: {ids:?}");
                }
                assert_eq!(ids.len(), expected.len(), "{q}, {order}, {state}");
                assert_eq!(&ids.into_iter().collect::<BTreeSet<_>>(), expected, "{q}, {order}, {state}");
            }
        }
        indexed(&service);
    }
}

#[test]
fn a_word_is_found_whatever_its_case_and_accents_in_the_scripts_that_the_guide_names() {
    let service = Service::start();
    // What was said, what finds it, and what of it is marked; and what does not find it.
    let said: [(&str, &[&str], &str, &[&str]); 16] = [
        (
            "Καλημέρα, πού είσαι;",
            &["ΚΑΛΗΜΕΡΑ", "καλημερα", "Καλημέρα", "καλημερ*", "\"ΚΑΛΗΜΕΡΑ ΠΟΥ\""],
            "Καλημέρα",
            &["καλιμερα"],
        ),
        ("ΟΔΟΣ ΑΘΗΝΑΣ", &["οδός", "οδοσ", "Οδος", "αθηνάς οδος"], "ΟΔΟΣ", &[]),
        ("Το ρολόι του γαϊδάρου", &["ρολοι", "γαιδαρου", "γαϊδαρου"], "", &[]),
        ("Он везёт ёлку", &["елку", "ЁЛКУ", "везет", "\"везет елку\"", "елк*"], "", &["йолку"]),
        ("Мой рейс", &["МОЙ"], "Мой", &["мои"]),
        ("їжа тут", &["ЇЖА"], "їжа", &["іжа"]),
        ("وصل أحمد إلى القرآن", &["احمد", "أحمد", "الى", "القران"], "", &[]),
        ("Die Straße ist groß", &["STRASSE", "strasse", "straße", "gross"], "", &["strase"]),
        ("We pass Massachusetts", &["PASS", "massachusetts", "mass*"], "", &["passt"]),
        ("Đường Nguyễn Huệ ở đây", &["nguyen", "NGUYỄN", "\"nguyen hue\""], "", &[]),
        ("Łódź i Kraków", &["krakow", "łodz"], "", &["lodz"]),
        ("İstanbul ve ISPARTA", &["istanbul", "İSTANBUL", "isparta"], "", &["ısparta"]),
        ("नमस्ते दुनिया की", &["नमस्ते", "दुनि*"], "", &["नमसत", "का"]),
        ("สวัสดีครับ", &["สวัสดีครับ", "สวัส*"], "สวัสดีครับ", &["สวสด*"]),
        ("cafe\u{301} noir", &["cafe", "CAFÉ", "café"], "cafe\u{301}", &[]),
        ("한국어 화물차 が", &["한국어", "화물*", "が"], "", &["か"]),
    ];
    for (n, (message, ..)) in said.iter().enumerate() {
        let mut turn = turn("conv_a", n);
        turn["message"] = Value::from(*message);
        service.deliver(&turn).expect(201);
    }
    for state in ["in the tail", "in the index"] {
        for (id, (message, by, marked, not_by)) in (1..).zip(&said) {
            for q in *by {
                let page = search(&service, q, "");
                let hit = hits(&page).iter().find(|hit| hit["id"] == id);
                let hit = hit.unwrap_or_else(|| panic!("{q} does not find {message}, {state}"));
                let snippet = hit["snippet"].as_str().unwrap();
                assert_eq!(snippet.replace("<mark>", "").replace("</mark>", ""), *message, "{q}");
                assert!(snippet.contains("<mark>"), "{q}: {snippet}");
                if !marked.is_empty() && !q.contains(' ') {
                    assert!(snippet.contains(&format!("<mark>{marked}</mark>")), "{q}: {snippet}");
                }
            }
            for q in *not_by {
                assert!(!found(&service, q, "").contains(&id), "{q} finds {message}, {state}");
            }
        }
        indexed(&service);
    }
}
