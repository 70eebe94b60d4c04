//! Reconciliation of turns and records as a pure function: matching, order of the transcript, and independence of the
//! order of arrival and of repetition.

use crate::support::random::for_any;
use Speaker::{Agent, Driver};
use proptest::prelude::{Just, Strategy as _, any};
use transcribe_hook::domain::reconcile::{
    Candidate, Counts, Origin, Plan, Records, TurnRow, match_driver, normalize, plan,
};
use transcribe_hook::domain::{DriverId, DriverSource, Entry, Message, Source, Speaker, Timestamp, TurnKind};

/// This many seconds into the call.
fn at(second: i64) -> Timestamp {
    Timestamp::parse("2026-09-28T12:00:00Z").unwrap().plus_seconds(second).unwrap()
}

fn heard(sequence_number: i64, speaker: Speaker, text: &str, second: i64) -> TurnRow {
    TurnRow {
        sequence_number,
        speaker,
        text: text.to_owned(),
        timestamp: at(second),
        origin: Origin::Live,
        superseded: false,
    }
}

fn entry(index: u32, speaker: Speaker, text: &str, second: i64) -> Entry {
    Entry {
        index,
        speaker,
        message: Message::new(text).unwrap(),
        original: None,
        interrupted: None,
        time: Some(at(second)),
        cut_off: false,
        kind: TurnKind::Speech,
        metrics: None,
    }
}

fn after_the_call(entries: Vec<Entry>) -> Records {
    Records { history: Vec::new(), post_call: Some(entries) }
}

/// Live turns only, matched, added, corrected, repeated.
fn numbers(plan: &Plan) -> [i64; 5] {
    let Counts { live_only, matched, added, corrected, repeated } = plan.counts;
    [live_only, matched, added, corrected, repeated]
}

#[test]
fn letters_case_white_space_and_punctuation_do_not_count() {
    for (one, other) in [
        ("Yeah, I'm parked!", "yeah im  parked"),
        ("It’s 45°.", "its 45"),
        ("  GRÜSSE, Maria ", "grüsse maria"),
        ("東京、です。", "東京 です"),
    ] {
        assert_eq!(normalize(one), normalize(other), "{one:?} and {other:?}");
    }
    assert_ne!(normalize("forty five"), normalize("forty-six"));
    // A text of nothing but punctuation is still one.
    assert_eq!(normalize(" ?! "), "?!");

    let plan =
        plan(&[heard(1, Driver, "yeah im parked", 9)], &after_the_call(vec![entry(0, Driver, "Yeah, I'm parked!", 8)]));
    assert_eq!(numbers(&plan), [0, 1, 0, 1, 0]);
    assert_eq!(plan.placements[0].final_text.as_ref().map(Message::as_str), Some("Yeah, I'm parked!"));
    assert_eq!((plan.placements[0].place, plan.placements[0].superseded_by), (Some(1), None));
    assert_eq!(plan.placements[0].timestamp, at(9), "when it was heard stays");
}

#[test]
fn the_whole_of_what_was_interrupted_is_the_same_turn() {
    let whole = "Could you check the set point and tell me what it shows?";
    let mut cut = entry(0, Agent, "Could you...", 10);
    cut.original = Some(Message::new(whole).unwrap());
    cut.interrupted = Some(true);
    let plan = plan(&[heard(1, Agent, whole, 11)], &after_the_call(vec![cut]));
    assert_eq!(numbers(&plan), [0, 1, 0, 1, 0]);
    assert_eq!(plan.placements[0].final_text.as_ref().map(Message::as_str), Some("Could you..."));
    assert_eq!(plan.placements[0].interrupted, Some(true));
}

#[test]
fn other_words_are_the_same_turn_only_if_they_are_alike_and_the_place_fits() {
    let said = vec![
        entry(0, Agent, "Are you near your trailer right now?", 0),
        entry(1, Driver, "Okay, it's running now, I can hear the compressor, and the reading goes down.", 38),
        entry(2, Agent, "Perfect, drive safely.", 43),
    ];
    let stored = |words: &str, second| {
        [
            heard(1, Agent, "Are you near your trailer right now?", 1),
            heard(2, Driver, words, second),
            heard(3, Agent, "Perfect, drive safely.", 44),
        ]
    };
    let paraphrase = "OK, now it is running, and I hear the compressor; it gets colder.";
    assert_eq!(numbers(&plan(&stored(paraphrase, 40), &after_the_call(said.clone()))), [0, 3, 0, 1, 0]);
    // Between the same neighbours, whatever the clock says.
    assert_eq!(numbers(&plan(&stored(paraphrase, 20), &after_the_call(said.clone()))), [0, 3, 0, 1, 0]);
    // Neither between them nor near in time.
    assert_eq!(numbers(&plan(&stored(paraphrase, 400), &after_the_call(said.clone()))), [1, 2, 1, 0, 0]);
    let other = "The brakes squeak since yesterday!";
    assert_eq!(numbers(&plan(&stored(other, 40), &after_the_call(said.clone()))), [1, 2, 1, 0, 0]);
    // What the other one said is never the same.
    let mut by_agent = stored(paraphrase, 40);
    by_agent[1].speaker = Agent;
    assert_eq!(numbers(&plan(&by_agent, &after_the_call(said))), [1, 2, 1, 0, 0]);
}

#[test]
fn what_is_missing_gets_the_next_numbers_and_its_place_in_the_true_order() {
    let said = vec![
        entry(0, Agent, "Hello, this is dispatch.", 0),
        entry(1, Driver, "Who is it?", 4),
        entry(3, Agent, "Dispatch, about load 88123.", 6),
        entry(4, Driver, "All right, go on.", 9),
    ];
    let stored = [heard(1, Driver, "Who is it?", 5), heard(2, Driver, "All right, go on.", 10)];
    let plan = plan(&stored, &after_the_call(said));
    assert_eq!(numbers(&plan), [0, 2, 2, 0, 0]);
    let added: Vec<_> = plan.additions.iter().map(|a| (a.entry.index, a.source, a.place)).collect();
    assert_eq!(added, [(0, Source::PostCall, 1), (3, Source::PostCall, 3)]);
    let places: Vec<_> = plan.placements.iter().map(|s| (s.sequence_number, s.place)).collect();
    assert_eq!(places, [(1, Some(2)), (2, Some(4))]);
}

#[test]
fn one_word_that_is_said_often_is_paired_with_the_nearest_in_order() {
    let said = [5, 20, 40].map(|second| entry(u32::try_from(second).unwrap(), Driver, "Yes.", second));
    let stored = [heard(1, Driver, "yes", 41), heard(2, Driver, "Yes", 6)];
    let plan = plan(&stored, &after_the_call(said.to_vec()));
    assert_eq!(numbers(&plan), [0, 2, 1, 2, 0]);
    assert_eq!(plan.additions[0].entry.time, Some(at(20)), "the one in the middle was not heard");
    assert_eq!(plan.placements.iter().map(|s| s.place).collect::<Vec<_>>(), [Some(3), Some(1)]);
}

#[test]
fn a_repeat_steps_back_only_where_the_record_is_complete() {
    let words = "Your reefer is reading forty five degrees.";
    let stored = [heard(1, Agent, words, 3), heard(2, Agent, words, 5)];
    let said = vec![entry(0, Agent, words, 2)];
    let complete = plan(&stored, &after_the_call(said.clone()));
    assert_eq!(numbers(&complete), [0, 1, 0, 0, 1]);
    assert_eq!(complete.placements[1].superseded_by, Some(1));
    let history = plan(&stored, &Records { history: said, post_call: None });
    assert_eq!((history.counts.repeated, history.placements[1].superseded_by), (0, None));
    assert_eq!(history.placements[1].place, Some(2));
}

#[test]
fn a_live_turn_that_comes_after_the_record_takes_the_place_of_what_was_made_for_it() {
    let known = after_the_call(vec![entry(0, Agent, "Hello.", 0), entry(1, Driver, "Yes?", 3)]);
    let made = |number, speaker, text: &str, index| TurnRow {
        origin: Origin::PostCall(index),
        ..heard(number, speaker, text, 0)
    };
    let stored = [made(1, Agent, "Hello.", 0), made(2, Driver, "Yes?", 1), heard(3, Agent, "hello", 1)];
    let plan = plan(&stored, &known);
    assert!(plan.additions.is_empty());
    let placements: Vec<_> = plan.placements.iter().map(|s| (s.place, s.superseded_by)).collect();
    assert_eq!(placements, [(None, Some(3)), (Some(2), None), (Some(1), None)]);
    assert_eq!(numbers(&plan), [0, 1, 1, 1, 0]);
}

#[test]
fn words_that_a_report_cuts_off_do_not_shorten_those_that_were_heard() {
    let whole = format!("{}the end", "I walked around the trailer and looked at it. ".repeat(120));
    let mut beginning = entry(0, Driver, &whole[..4096], 5);
    beginning.cut_off = true;
    let known = |history: Vec<Entry>| Records { history, post_call: Some(vec![beginning.clone()]) };
    let heard_whole = plan(&[heard(1, Driver, &whole, 6)], &known(vec![]));
    assert_eq!(numbers(&heard_whole), [0, 1, 0, 0, 0]);
    assert_eq!(heard_whole.placements[0].final_text, None);
    // Anybody may have sent a history, so that it adds nothing to what is signed.
    let shown_whole = plan(&[], &known(vec![entry(0, Driver, &whole, 6)]));
    assert_eq!(shown_whole.additions[0].entry.message.as_str(), &whole[..4096]);
    // Other words are corrected all the same.
    let other = whole.replace("trailer", "truck");
    let corrected = plan(&[heard(1, Driver, &other, 6)], &known(vec![]));
    assert!(corrected.placements[0].final_text.is_some());
}

#[test]
fn without_turns_or_records_there_is_nothing_to_do() {
    assert_eq!(plan(&[], &Records::default()), Plan::default());
    let alone = plan(&[heard(1, Agent, "Hello.", 0)], &after_the_call(vec![]));
    assert_eq!(numbers(&alone), [1, 0, 0, 0, 0]);
    assert_eq!((alone.placements[0].place, alone.additions.len()), (Some(1), 0));
}

/// The call once the plan is carried out.
fn carried_out(stored: &[TurnRow], plan: &Plan) -> Vec<TurnRow> {
    let mut all = stored.to_vec();
    for turn in &mut all {
        let placement = plan.placements.iter().find(|s| s.sequence_number == turn.sequence_number).unwrap();
        turn.timestamp = placement.timestamp;
        turn.superseded = placement.place.is_none();
        if let Some((speaker, words)) = &placement.rewritten {
            assert_ne!(turn.origin, Origin::Live, "a turn that was delivered keeps its words");
            turn.speaker = *speaker;
            turn.text = words.as_str().to_owned();
        }
    }
    let mut last = 0;
    for addition in &plan.additions {
        last = all.iter().map(|turn| turn.sequence_number).max().unwrap_or(last) + 1;
        let index = addition.entry.index;
        let origin = if addition.source == Source::PostCall { Origin::PostCall(index) } else { Origin::History(index) };
        all.push(TurnRow {
            sequence_number: last,
            speaker: addition.entry.speaker,
            text: addition.entry.message.as_str().to_owned(),
            timestamp: addition.entry.time.unwrap_or(at(0)),
            origin,
            superseded: false,
        });
    }
    all
}

/// The conversation in its order, by the words that count.
fn transcript(stored: &[TurnRow], plan: &Plan) -> Vec<(i64, Speaker, String)> {
    let mut lines: Vec<_> = plan
        .placements
        .iter()
        .filter_map(|placement| {
            let turn = stored.iter().find(|turn| turn.sequence_number == placement.sequence_number)?;
            let (speaker, words) = match (&placement.final_text, &placement.rewritten) {
                (Some(text), _) => (turn.speaker, text.as_str().to_owned()),
                (None, Some((speaker, text))) => (*speaker, text.as_str().to_owned()),
                (None, None) => (turn.speaker, turn.text.clone()),
            };
            Some((placement.place?, speaker, words))
        })
        .chain(plan.additions.iter().map(|a| (a.place, a.entry.speaker, a.entry.message.as_str().to_owned())))
        .collect();
    lines.sort_by_key(|line| line.0);
    lines
}

#[test]
fn whatever_was_heard_and_said_each_turn_stands_once_and_doing_it_again_changes_nothing() {
    const WORDS: [&str; 9] = [
        "Yes.",
        "yes",
        "No, not yet.",
        "Could you check the set point?",
        "Could you check the set point and tell me what it shows?",
        "It says thirty four, but the unit is not running.",
        "It says 34 but the unit isn't running",
        "The brakes squeak.",
        "?!",
    ];
    let line = (any::<bool>(), 0..WORDS.len(), 0..60i64)
        .prop_map(|(agent, words, second)| (if agent { Agent } else { Driver }, WORDS[words], second));
    let lines = || proptest::collection::vec(line.clone(), 0..9);
    let some = (lines(), lines(), lines(), any::<bool>(), any::<bool>());
    let shuffled = some.prop_flat_map(|(heard, shown, said, complete, originals)| {
        let order: Vec<usize> = (0..heard.len()).collect();
        (Just((heard, shown, said, complete, originals)), Just(order).prop_shuffle())
    });
    for_any(1500, &shuffled, |((lines, shown, said, complete, originals), order)| {
        let entries = |lines: &[(Speaker, &str, i64)]| -> Vec<Entry> {
            let mut entries: Vec<_> =
                (0..).zip(lines).map(|(n, (who, text, second))| entry(n, *who, text, *second)).collect();
            entries.sort_by_key(|entry| entry.time);
            for (n, entry) in (0..).zip(&mut entries) {
                entry.index = n;
                entry.original = originals.then(|| Message::new(WORDS[4]).unwrap());
            }
            entries
        };
        let known = Records { history: entries(&shown), post_call: complete.then(|| entries(&said)) };
        let stored: Vec<_> = (1..).zip(&lines).map(|(n, (who, text, second))| heard(n, *who, text, *second)).collect();
        let first = plan(&stored, &known);
        let lines = transcript(&stored, &first);
        assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), (1..).take(lines.len()).collect::<Vec<_>>());
        assert_eq!(first.placements.len(), stored.len());
        for placement in &first.placements {
            assert_ne!(placement.place.is_some(), placement.superseded_by.is_some(), "{placement:?}");
        }
        let [live_only, matched, added, corrected, repeated] = numbers(&first);
        assert!(corrected <= matched && [live_only, matched, added, repeated].iter().all(|n| *n >= 0));
        assert_eq!(i64::try_from(lines.len()).unwrap(), live_only + matched + added);

        let all = carried_out(&stored, &first);
        let again = plan(&all, &known);
        assert!(again.additions.is_empty());
        assert_eq!(again.counts, first.counts);
        assert_eq!(transcript(&all, &again), lines);
        assert_eq!(plan(&carried_out(&all, &again), &known), again);

        // The same turns, come in another order, and so with other numbers.
        let other: Vec<_> =
            (1..).zip(&order).map(|(n, at)| TurnRow { sequence_number: n, ..stored[*at].clone() }).collect();
        let reordered = plan(&other, &known);
        assert_eq!(reordered.counts, first.counts);
        assert_eq!(transcript(&other, &reordered), lines);
    });
}

/// A record of this kind with these lines, one every ten seconds.
fn lines(said: &[(Speaker, &str)]) -> Vec<Entry> {
    (0..).zip(said).map(|(n, (who, text))| entry(n, *who, text, 10 * i64::from(n))).collect()
}

#[test]
fn a_record_that_grows_at_any_place_gives_no_words_to_another_speaker_or_turn() {
    let short = lines(&[(Driver, "Yes I am parked")]);
    let grown = [
        lines(&[(Agent, "Hello this is dispatch"), (Driver, "Yes I am parked")]),
        lines(&[(Driver, "Yes I am parked"), (Agent, "Hello this is dispatch")]),
        lines(&[(Driver, "Hello?"), (Agent, "Hello this is dispatch"), (Driver, "Yes, I'm parked"), (Driver, "Bye")]),
        lines(&[(Driver, "Who is there"), (Agent, "Dispatch"), (Agent, "Where are you")]),
    ];
    for grown in &grown {
        for signed in [[true, true], [false, true], [false, false]] {
            let known = |said: &[Entry], signed: bool| {
                let said = said.to_vec();
                if signed { after_the_call(said) } else { Records { history: said, post_call: None } }
            };
            let (before, after) = (known(&short, signed[0]), known(grown, signed[1]));
            let stored = carried_out(&[], &plan(&[], &before));
            let first = plan(&stored, &after);
            let wanted: Vec<_> = (1..).zip(grown).map(|(n, e)| (n, e.speaker, e.message.as_str().to_owned())).collect();
            assert_eq!(transcript(&stored, &first), wanted);
            let all = carried_out(&stored, &first);
            let again = plan(&all, &after);
            assert!(again.additions.is_empty());
            assert!(again.placements.iter().all(|placement| placement.rewritten.is_none()), "{again:?}");
            assert_eq!(transcript(&all, &again), wanted);
            assert_eq!(plan(&carried_out(&all, &again), &after), again);
            for turn in all.iter().filter(|turn| signed[1] && !turn.superseded) {
                let placement = again.placements.iter().find(|s| s.sequence_number == turn.sequence_number).unwrap();
                assert_eq!(placement.final_text, None, "a created turn has the record's words themselves");
            }
        }
    }
}

#[test]
fn a_turn_that_was_given_to_another_entry_by_its_index_alone_is_mended_by_the_next_plan() {
    let known = after_the_call(lines(&[(Agent, "Hello this is dispatch"), (Driver, "Yes I am parked")]));
    let stored: Vec<_> = (1..)
        .zip([0, 1])
        .map(|(n, index)| TurnRow { origin: Origin::PostCall(index), ..heard(n, Driver, "Yes I am parked", 0) })
        .collect();
    let first = plan(&stored, &known);
    assert_eq!((first.additions.len(), first.additions[0].entry.speaker), (1, Agent));
    assert_eq!(first.placements.iter().map(|s| s.place).collect::<Vec<_>>(), [None, Some(2)]);
    assert!(plan(&carried_out(&stored, &first), &known).additions.is_empty());
}

#[test]
fn a_redacted_record_leaves_the_words_that_it_redacts_in_no_created_turn() {
    for (before, after) in [
        (lines(&[(Driver, "I am Zebediah ok")]), lines(&[(Driver, "I am [NAME] ok")])),
        (lines(&[(Driver, "I am Zebediah ok")]), lines(&[(Agent, "Hello"), (Driver, "I am [NAME] ok")])),
        (lines(&[(Driver, "Zebediah")]), lines(&[(Agent, "Who is there"), (Driver, "[NAME]"), (Agent, "Thanks")])),
        (lines(&[(Driver, "Zebediah"), (Agent, "Zebediah!")]), lines(&[(Driver, "[NAME]"), (Agent, "[NAME]!")])),
    ] {
        for known in [after_the_call(before.clone()), Records { history: before.clone(), post_call: None }] {
            let stored = carried_out(&[], &plan(&[], &known));
            let redacted = Records { post_call: Some(after.clone()), ..known };
            let planned = plan(&stored, &redacted);
            let all = carried_out(&stored, &planned);
            assert!(all.iter().all(|turn| !turn.text.contains("Zebediah")), "{all:?}");
            assert!(planned.placements.iter().all(|placement| placement.final_text.is_none()));
            let again = plan(&all, &redacted);
            assert!(again.additions.is_empty());
            assert!(again.placements.iter().all(|placement| placement.rewritten.is_none()));
        }
    }
    // What was delivered is stored as received.
    let live = plan(&[heard(1, Driver, "I am Zebediah ok", 0)], &after_the_call(lines(&[(Driver, "I am [NAME] ok")])));
    assert_eq!(live.placements[0].rewritten, None);
    assert_eq!(live.placements[0].final_text.as_ref().map(Message::as_str), Some("I am [NAME] ok"));
}

#[test]
fn records_one_after_another_end_in_the_transcript_of_the_last_and_add_no_turn_twice() {
    const WORDS: [&str; 7] =
        ["Yes.", "yes", "I am Zebediah ok", "I am [NAME] ok", "Could you check the set point?", "?!", "So long"];
    let line = (any::<bool>(), 0..WORDS.len()).prop_map(|(agent, n)| (if agent { Agent } else { Driver }, WORDS[n]));
    let said = || proptest::collection::vec(line.clone(), 0..6);
    let records = proptest::collection::vec((said(), any::<bool>()), 1..5);
    for_any(600, &(records, said()), |(records, live)| {
        let mut stored: Vec<_> = (1..).zip(&live).map(|(n, (who, text))| heard(n, *who, text, 7 * n)).collect();
        let mut known = Records::default();
        for (said, signed) in &records {
            if *signed {
                known.post_call = Some(lines(said));
            } else {
                known.history = lines(said);
            }
            let wanted = {
                let delivered: Vec<_> = stored.iter().filter(|turn| turn.origin == Origin::Live).cloned().collect();
                transcript(&delivered, &plan(&delivered, &known))
            };
            let first = plan(&stored, &known);
            assert_eq!(transcript(&stored, &first), wanted, "what was created before does not matter");
            let all = carried_out(&stored, &first);
            for (turn, (who, text)) in all.iter().zip(&live) {
                assert_eq!((turn.speaker, &*turn.text), (*who, *text));
            }
            let again = plan(&all, &known);
            assert!(again.additions.is_empty());
            assert!(again.placements.iter().all(|placement| placement.rewritten.is_none()), "{again:?}");
            assert_eq!(transcript(&all, &again), wanted);
            let all = carried_out(&all, &again);
            assert_eq!(plan(&all, &known), again);
            stored = all;
        }
    });
}

#[test]
fn the_driver_is_who_is_known_by_the_surest_source_and_all_others_are_the_conflict() {
    let id = |n: i64| DriverId::new(n).unwrap();
    let sources = [
        DriverSource::Dispatch,
        DriverSource::DynamicVariable,
        DriverSource::UserId,
        DriverSource::BatchRecipient,
        DriverSource::PhoneNumber,
    ];
    let candidates: Vec<_> =
        (1..).zip(sources).map(|(n, source)| Candidate { source, driver_id: id(n), known: true }).collect();
    for (n, source) in sources.into_iter().enumerate() {
        // Whatever their order is.
        let mut left = candidates[n..].to_vec();
        left.reverse();
        let found = match_driver(&left);
        assert_eq!(found.driver, Some((candidates[n].driver_id, source)));
        assert_eq!(found.conflict.is_none(), left.len() == 1, "{found:?}");
    }
    let all = match_driver(&candidates);
    assert_eq!(all.conflict.as_deref(), Some("dynamic_variable: 2, user_id: 3, batch_recipient: 4, phone_number: 5"));
    let mut first_unknown = candidates.clone();
    first_unknown[0].known = false;
    let second = match_driver(&first_unknown);
    assert_eq!(second.driver, Some((id(2), DriverSource::DynamicVariable)));
    assert!(second.conflict.unwrap().starts_with("dispatch: 1, user_id: 3"));
    let same: Vec<_> = candidates.iter().map(|c| Candidate { driver_id: id(9), ..*c }).collect();
    assert_eq!(match_driver(&same).conflict, None);
    assert_eq!(match_driver(&[]).driver, None);
}
