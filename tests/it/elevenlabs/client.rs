//! The client of ElevenLabs' API against a stand-in that does what networks and services do.

use crate::support::fake_elevenlabs::{FakeElevenLabs, Fault, KEY};
use crate::support::tls::free_port;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use transcribe_hook::elevenlabs::client::{Client, ClientError, RetryPolicy};
use transcribe_hook::secret::Secret;

const QUICK: RetryPolicy = RetryPolicy {
    retries: 3,
    pause: Duration::from_millis(1),
    timeout: Duration::from_secs(20),
    fails_unconnected: false,
};

fn client(elevenlabs: &FakeElevenLabs) -> Client {
    Client::new(&elevenlabs.url(), Secret::new(KEY).unwrap(), QUICK).unwrap()
}

fn conversation(number: i64) -> Value {
    json!({
        "conversation_id": format!("conv_{number}"),
        "status": "done",
        "metadata": {"start_time_unix_secs": 1_790_000_000 + number},
        "transcript": [],
    })
}

/// Follows the list to its end.
fn all(client: &Client, since: Option<i64>) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = client.list(since, cursor.as_deref()).unwrap();
        ids.extend(page.conversations.into_iter().map(|listed| listed.conversation_id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return ids;
        }
    }
}

#[test]
fn the_list_is_followed_page_by_page_to_its_end() {
    let elevenlabs = FakeElevenLabs::start((0..7).rev().map(conversation).collect(), 3);
    let client = client(&elevenlabs);
    let newest_first: Vec<_> = (0..7).rev().map(|number| format!("conv_{number}")).collect();
    assert_eq!(all(&client, None), newest_first);
    assert_eq!(elevenlabs.requests().len(), 3);
    assert_eq!(all(&client, Some(1_790_000_004)), newest_first[..3]);
    assert_eq!(all(&client, Some(1_800_000_000)), [""; 0]);
}

#[test]
fn what_hinders_a_request_for_a_while_is_tried_again() {
    let elevenlabs = FakeElevenLabs::start(vec![conversation(1)], 3);
    let client = client(&elevenlabs);
    for faults in [
        vec![Fault::Status(500, None), Fault::Status(503, None), Fault::Status(429, None)],
        vec![Fault::Close, Fault::Cut, Fault::Close],
        vec![Fault::Status(408, None), Fault::Cut],
    ] {
        let count = faults.len();
        elevenlabs.fail("/conversations/conv_1", faults);
        assert_eq!(client.conversation("conv_1").unwrap(), conversation(1));
        assert_eq!(elevenlabs.requests().len(), count + 1);
    }
}

#[test]
fn the_pause_that_elevenlabs_asks_for_is_made() {
    let elevenlabs = FakeElevenLabs::start(vec![conversation(1)], 3);
    elevenlabs.fail("conv_1", [Fault::Status(429, Some("1"))]);
    let start = Instant::now();
    client(&elevenlabs).conversation("conv_1").unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    elevenlabs.fail("conv_1", [Fault::Status(429, Some("86400"))]);
    assert_eq!(client(&elevenlabs).conversation("conv_1"), Err(ClientError::RateLimited(86_400)));
}

#[test]
fn what_does_not_pass_is_told_and_not_tried_for_ever() {
    let elevenlabs = FakeElevenLabs::start(vec![conversation(1)], 3);
    let client = client(&elevenlabs);
    assert_eq!(client.conversation("conv_2"), Err(ClientError::NotFound));
    elevenlabs.fail("conv_1", [Fault::Status(422, None)]);
    assert_eq!(client.conversation("conv_1"), Err(ClientError::Status(422)));
    elevenlabs.fail("conv_1", [Fault::Status(302, None)]);
    assert_eq!(client.conversation("conv_1"), Err(ClientError::Status(302)));
    elevenlabs.fail("conv_1", [Fault::Garbage]);
    assert!(matches!(client.conversation("conv_1"), Err(ClientError::Malformed(_))));
    assert_eq!(elevenlabs.requests().len(), 4);
    elevenlabs.fail("conv_1", [Fault::Status(500, None); 9]);
    assert_eq!(client.conversation("conv_1"), Err(ClientError::Status(500)));
    assert_eq!(elevenlabs.requests().len(), 4, "three retries");

    let key = Secret::new("xi-another-key-altogether").unwrap();
    let refused = Client::new(&elevenlabs.url(), key, QUICK).unwrap().list(None, None).unwrap_err();
    assert_eq!(refused, ClientError::Unauthorized(401));
    assert!(!refused.to_string().contains("xi-"), "{refused}");

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let gone = Client::new(&nobody, Secret::new(KEY).unwrap(), QUICK).unwrap();
    assert!(matches!(gone.list(None, None), Err(ClientError::Unreachable(_))));
}

#[test]
fn a_first_request_that_cannot_connect_is_not_retried_if_a_person_waits() {
    // A retry would take longer than the test may.
    let waited_for = RetryPolicy { retries: 6, pause: Duration::from_mins(10), fails_unconnected: true, ..QUICK };
    let client = |url: &str| Client::new(url, Secret::new(KEY).unwrap(), waited_for).unwrap();
    for url in [format!("http://127.0.0.1:{}", free_port()), "https://api.elevenlabs.invalid".to_owned()] {
        match client(&url).list(None, None) {
            Err(ClientError::NotConnected { url: told, .. }) => assert_eq!(told, url),
            other => panic!("{url}: {other:?}"),
        }
    }
    // What breaks off, and what fails once there was a response, is retried.
    let patient = RetryPolicy { pause: Duration::from_millis(1), ..waited_for };
    let elevenlabs = FakeElevenLabs::start(vec![conversation(1)], 3);
    let patient = Client::new(&elevenlabs.url(), Secret::new(KEY).unwrap(), patient).unwrap();
    elevenlabs.fail("conv_1", [Fault::Close, Fault::Cut]);
    assert_eq!(patient.conversation("conv_1").unwrap(), conversation(1));
    assert_eq!(elevenlabs.requests().len(), 3);
}

#[test]
fn an_identifier_is_one_part_of_the_path_whatever_is_in_it() {
    let elevenlabs = FakeElevenLabs::start(vec![], 3);
    let client = client(&elevenlabs);
    for id in ["a/b?c#d", "..", "ü %2F"] {
        assert_eq!(client.conversation(id), Err(ClientError::NotFound), "{id}");
    }
    let asked = elevenlabs.requests();
    assert_eq!(asked[0], "/v1/convai/conversations/a%2Fb%3Fc%23d");
    assert_eq!(asked[2], "/v1/convai/conversations/%C3%BC%20%252F");
    assert_eq!(asked.len(), 3);
}

#[test]
fn a_batch_is_read_with_its_recipients() {
    let elevenlabs = FakeElevenLabs::start(vec![], 3);
    elevenlabs.put_batch(json!({"id": "btcal_1", "recipients": [{"id": "driver_7"}]}));
    assert_eq!(client(&elevenlabs).batch("btcal_1").unwrap()["recipients"][0]["id"], "driver_7");
    assert_eq!(client(&elevenlabs).batch("btcal_2"), Err(ClientError::NotFound));
}
