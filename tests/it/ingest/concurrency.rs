//! Order without gaps, and once, however many send at once.

use crate::support::service::Service;
use crate::support::turns::turn;
use std::collections::HashSet;
use std::sync::Barrier;

#[test]
fn many_clients_on_few_conversations_leave_no_gap_no_double_and_one_order() {
    const CLIENTS: usize = 64;
    const EACH: usize = 25;
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    let barrier = Barrier::new(CLIENTS);
    let mut answers: Vec<(String, i64, i64)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (service, barrier) = (&service, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    (0..EACH)
                        .map(|n| {
                            let conversation = format!("conv_{}", (client + n) % 5);
                            let answer = service.deliver(&turn(&conversation, client * EACH + n)).expect(201).json();
                            let number = |field: &str| answer[field].as_i64().unwrap();
                            (conversation, number("transcription_id"), number("sequence_number"))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(answers.len(), CLIENTS * EACH);
    answers.sort_by_key(|(_, id, _)| *id);
    let mut next = std::collections::HashMap::new();
    for (conversation, id, sequence) in &answers {
        let expected = next.entry(conversation).or_insert(1);
        assert_eq!(sequence, expected, "in {conversation}, at id {id}: the order of ids is the order of the call");
        *expected += 1;
    }
    let connection = service.sqlite();
    let mut select =
        connection.prepare("SELECT conversation_id, id, sequence_number FROM call_transcriptions ORDER BY id").unwrap();
    let stored: Vec<(String, i64, i64)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(stored, answers, "what is stored is what was answered");
}

#[test]
fn two_hundred_repeats_at_once_store_one_turn() {
    const CLIENTS: usize = 200;
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    let barrier = Barrier::new(CLIENTS);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let answer = service.deliver(&turn("conv_a", 1)).expect(201);
                    let replayed = answer.header("idempotent-replayed").is_some();
                    (answer.json()["transcription_id"].as_i64().unwrap(), replayed)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1, "one delivery stored it");
    assert_eq!(answers.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), 1, "all were given its number");
    let count: i64 =
        service.sqlite().query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}
