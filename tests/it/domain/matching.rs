//! Turns and entries in other words: each is found however the turns were reworded, repeated, lost or late, also in
//! calls of thousands, and what could not be compared is told.

use crate::support::random::for_any;
use proptest::prelude::any;
use std::time::{Duration, Instant};
use transcribe_hook::domain::reconcile::{Origin, Plan, Records, TurnRow, plan};
use transcribe_hook::domain::{Entry, Message, Speaker, Timestamp, TurnKind};

/// Numbers in no visible order, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

const COMMON: [&str; 24] = [
    "the", "and", "to", "is", "it", "you", "that", "of", "at", "we", "your", "for", "on", "now", "can", "have", "this",
    "truck", "load", "dock", "driver", "there", "please", "okay",
];

/// Two alphabets, because invented sentences in one of them are alike by chance, once in some hundred calls.
const ALPHABET: [char; 58] = [
    'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w',
    'x', 'y', 'z', 'а', 'б', 'в', 'г', 'д', 'е', 'ж', 'з', 'и', 'й', 'к', 'л', 'м', 'н', 'о', 'п', 'р', 'с', 'т', 'у',
    'ф', 'х', 'ц', 'ч', 'ш', 'щ', 'ъ', 'ы', 'ь', 'э', 'ю', 'я',
];

/// A word: of six, one that is said all the time.
fn word(numbers: &mut Numbers, of: usize) -> String {
    if numbers.below(6) == 0 {
        return COMMON[numbers.below(COMMON.len())].to_owned();
    }
    // The same letters for the same word.
    let mut letters = Numbers(numbers.below(of) as u64 * 7919);
    letters.below(1);
    (0..4 + letters.below(5)).map(|_| ALPHABET[letters.below(ALPHABET.len())]).collect()
}

fn sentence(numbers: &mut Numbers, words: usize, of: usize) -> Vec<String> {
    (0..words).map(|_| word(numbers, of)).collect()
}

/// Returns words with others at some places, one word more and one word less.
fn reworded(numbers: &mut Numbers, said: &[String], of: usize) -> Vec<String> {
    let mut heard = said.to_vec();
    for heard in &mut heard {
        if numbers.below(4) == 0 {
            *heard = word(numbers, of);
        }
    }
    heard.remove(numbers.below(said.len()));
    let place = numbers.below(said.len());
    heard.insert(place, word(numbers, of));
    heard
}

fn at(second: i64) -> Timestamp {
    Timestamp::parse("2026-09-28T12:00:00Z").unwrap().plus_seconds(second).unwrap()
}

fn speaker(n: usize) -> Speaker {
    if n.is_multiple_of(2) { Speaker::Agent } else { Speaker::Driver }
}

/// A call of `turns` turns, each with `words` words out of `of`. All were heard in other words, `late` seconds late.
fn call(turns: usize, words: usize, of: usize, late: i64) -> (Vec<TurnRow>, Vec<Entry>) {
    let mut numbers = Numbers(7);
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    for n in 0..turns {
        let sentence = sentence(&mut numbers, words, of);
        let second = i64::try_from(n).unwrap() * 4;
        heard.push(TurnRow {
            sequence_number: i64::try_from(n + 1).unwrap(),
            speaker: speaker(n),
            text: reworded(&mut numbers, &sentence, of).join(" "),
            timestamp: at(second + late),
            origin: Origin::Live,
            superseded: false,
        });
        said.push(entry(n, &sentence, second));
    }
    (heard, said)
}

fn entry(n: usize, sentence: &[String], second: i64) -> Entry {
    Entry {
        index: u32::try_from(n).unwrap(),
        speaker: speaker(n),
        message: Message::new(&sentence.join(" ")).unwrap(),
        original: None,
        interrupted: None,
        time: Some(at(second)),
        cut_off: false,
        kind: TurnKind::Speech,
        metrics: None,
    }
}

fn planned(heard: &[TurnRow], said: Vec<Entry>) -> Plan {
    plan(heard, &Records { history: Vec::new(), post_call: Some(said) })
}

/// Each turn stands at its own place.
fn assert_in_place(plan: &Plan, case: &str) {
    for placement in &plan.placements {
        assert_eq!(placement.place, Some(placement.sequence_number), "{case}");
    }
    assert_eq!((plan.additions.len(), plan.uncompared), (0, 0), "{case}");
}

#[test]
fn long_calls_of_reworded_turns_are_aligned_exactly_and_in_bounded_time() {
    for (turns, words, of, late) in [
        (400, 30, 4000, 2),
        // Clocks that differ by an hour, or turns that all came at the end.
        (2000, 50, 8000, 3600),
        // So few words that every turn has most of them.
        (800, 50, 150, 3),
    ] {
        let case = format!("{turns} turns of {words} words out of {of}, {late} s late");
        let (heard, said) = call(turns, words, of, late);
        let began = Instant::now();
        let plan = planned(&heard, said);
        println!("{case}: {:?}", began.elapsed());
        assert_in_place(&plan, &case);
        // A build that is not optimised, beside other tests, takes some seconds.
        assert!(began.elapsed() < Duration::from_mins(2), "{case}: {:?}", began.elapsed());
    }
}

#[test]
fn turns_that_were_lost_repeated_invented_or_came_in_another_order_do_not_mislead_the_others() {
    for_any(24, &(any::<u64>(), 40..120usize, any::<bool>()), |(seed, turns, shifted)| {
        let mut numbers = Numbers(seed);
        let (heard, mut said) = call(turns, 25, 4000, if shifted { 600 } else { 3 });
        let mut stored = Vec::new();
        let mut wanted = Vec::new();
        let mut add = |stored: &mut Vec<TurnRow>, turn: TurnRow, of: Option<i64>| {
            wanted.push(of);
            stored.push(TurnRow { sequence_number: i64::try_from(wanted.len()).unwrap(), ..turn });
        };
        for turn in &heard {
            let number = turn.sequence_number;
            match numbers.below(10) {
                // Lost on its way.
                0 => {}
                // Not in the record.
                1 => {
                    let text = sentence(&mut numbers, 25, 4000).join(" ");
                    add(&mut stored, TurnRow { text, ..turn.clone() }, None);
                    add(&mut stored, turn.clone(), Some(number));
                }
                // Twice, in other words again.
                2 => {
                    let original: Vec<_> = turn.text.split(' ').map(str::to_owned).collect();
                    let text = reworded(&mut numbers, &original, 4000).join(" ");
                    add(&mut stored, turn.clone(), Some(number));
                    // Which of the two is the one is not certain.
                    stored.last_mut().unwrap().text = turn.text.clone();
                    add(
                        &mut stored,
                        TurnRow { text, timestamp: turn.timestamp.plus_seconds(1).unwrap(), ..turn.clone() },
                        Some(number),
                    );
                }
                _ => add(&mut stored, turn.clone(), Some(number)),
            }
        }
        // Some arrive later than those that were said after them.
        for n in 1..stored.len() {
            if numbers.below(5) == 0 {
                let (left, right) = stored.split_at_mut(n);
                std::mem::swap(&mut left[n - 1].sequence_number, &mut right[0].sequence_number);
            }
        }
        said.retain(|_| numbers.below(12) > 0);
        let plan = planned(&stored, said.clone());
        let place_of = |number: i64| said.iter().position(|entry| i64::from(entry.index) + 1 == number);
        let words_at = |place: i64| {
            let placement = plan.placements.iter().find(|placement| placement.place == Some(place))?;
            placement.final_text.as_ref().map(|text| text.as_str().to_owned())
        };
        for (turn, wanted) in stored.iter().zip(&wanted) {
            let placement = plan.placements.iter().find(|s| s.sequence_number == turn.sequence_number).unwrap();
            let entry = wanted.and_then(place_of).map(|at| &said[at]);
            match (entry, placement.in_record) {
                // The entry is the turn's own, or belongs to one of two turns whose other one has it.
                (Some(entry), Some(true)) => {
                    assert_eq!(words_at(placement.place.unwrap()).as_deref(), Some(entry.message.as_str()));
                }
                (Some(entry), _) => {
                    let other = plan.placements.iter().any(|other| {
                        other.sequence_number != turn.sequence_number
                            && other.final_text.as_ref().map(Message::as_str) == Some(entry.message.as_str())
                    });
                    assert!(other, "turn {} of {turns} was not found", turn.sequence_number);
                }
                (None, in_record) => assert_eq!(in_record, Some(false), "there is no such entry"),
            }
        }
        assert_eq!(plan.uncompared, 0);
    });
}
