//! Signatures of post-call webhooks: the published vector, every change refused, and ElevenLabs' own SDK as judge.

use crate::support::random::for_any;
use crate::support::service::sdk_python;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use proptest::prelude::{Just, any, prop_oneof};
use serde_json::{Value, json};
use std::time::Duration;
use transcribe_hook::elevenlabs::signature::{SignatureError, Verifier, sign, verify};
use transcribe_hook::secret::Secret;

const BODY: &[u8] = br#"{"type":"post_call_transcription","event_timestamp":1739537297,"data":{}}"#;
const AT: i64 = 1_739_537_297;
const V0: &str = "b1ddeece11fd4f046a04b4eeeae80c71e9b5fc02821f8e317f49cb5bbee23043";
const TOLERANCE: Duration = Duration::from_mins(30);

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

/// Verifies [`BODY`] at [`AT`] with the secret that was published with it.
fn judge(header: &str) -> Result<(), SignatureError> {
    verify(Some(header.as_bytes()), BODY, &[secret("wsec_test_secret")], AT, TOLERANCE)
}

#[test]
fn the_published_vector_is_made_and_taken() {
    assert_eq!(sign(&secret("wsec_test_secret"), AT, BODY), format!("t={AT},v0={V0}"));
    assert_eq!(judge(&format!("t={AT},v0={V0}")), Ok(()));
}

#[test]
fn every_form_that_either_sdk_takes_is_taken() {
    let wrong = "0".repeat(64);
    for header in [
        format!("v0={V0},t={AT}"),
        format!("t={AT}, v0={V0}"),
        format!(" t={AT} ,v0={V0} "),
        format!("t={AT},v0={}", V0.to_uppercase()),
        format!("t={AT},v0={wrong},v0={V0}"),
        format!("t={AT},v0={V0},v0={wrong}"),
        format!("t={AT},v1=something,new,v0={V0}"),
    ] {
        assert_eq!(judge(&header), Ok(()), "{header}");
    }
}

#[test]
fn what_is_not_of_the_form_is_refused_and_why_is_said() {
    let mut refusals = Wording::default();
    for header in [
        String::new(),
        format!("v0={V0}"),
        format!("t={AT}"),
        format!("t={AT},v1={V0}"),
        format!("t={AT},V0={V0}"),
        format!("t={AT},t={AT},v0={V0}"),
        format!("t=,v0={V0}"),
        format!("t=abc,v0={V0}"),
        format!("t=-{AT},v0={V0}"),
        format!("t=+{AT},v0={V0}"),
        format!("t={AT}.0,v0={V0}"),
        format!("t=９,v0={V0}"),
        format!("t=9999999999999999999,v0={V0}"),
        format!("t={AT},v0="),
        format!("t={AT},v0={V0}0"),
        format!("t={AT},v0={}g", &V0[..63]),
        format!("t={AT},v0={}é", &V0[..62]),
        format!("t={AT}{}", format!(",v0={V0}").repeat(17)),
        format!("t={AT},v0={V0}{}", ",x=1".repeat(1000)),
    ] {
        let refusal = judge(&header).unwrap_err();
        assert!(matches!(refusal, SignatureError::Malformed(_)), "{header}: {refusal}");
        refusals.add_error(header, &refusal.to_string());
    }
    assert_snapshot!("refusals", refusals);
    let none: Result<(), SignatureError> = verify(None, BODY, &[secret("wsec_test_secret")], AT, TOLERANCE);
    assert_eq!(none, Err(SignatureError::Missing));
    let no_text = verify(Some(b"t=1,v0=\xff"), BODY, &[secret("wsec_test_secret")], AT, TOLERANCE);
    assert!(matches!(no_text, Err(SignatureError::Malformed(_))));
}

#[test]
fn without_a_secret_nothing_is_verified() {
    let refusal = verify(Some(format!("t={AT},v0={V0}").as_bytes()), BODY, &[], AT, TOLERANCE).unwrap_err();
    assert_eq!(refusal, SignatureError::NoSecret);
    assert!(refusal.to_string().contains("--elevenlabs-secret"), "{refusal}");
}

#[test]
fn any_of_several_secrets_will_do_while_one_replaces_another() {
    let header = format!("t={AT},v0={V0}");
    let (old, new) = (secret("wsec_test_secret"), secret("wsec_another_secret"));
    for secrets in [vec![old.clone(), new.clone()], vec![new.clone(), old]] {
        assert_eq!(verify(Some(header.as_bytes()), BODY, &secrets, AT, TOLERANCE), Ok(()));
    }
    assert_eq!(verify(Some(header.as_bytes()), BODY, &[new], AT, TOLERANCE), Err(SignatureError::Mismatch));
}

#[test]
fn the_time_may_lie_as_far_off_as_is_tolerated_and_no_second_further() {
    let header = format!("t={AT},v0={V0}");
    for (now, result) in [
        (AT, Ok(())),
        (AT + 1800, Ok(())),
        (AT + 1801, Err(SignatureError::Stale { age: 1801, tolerance: 1800 })),
        (AT + 86_400, Err(SignatureError::Stale { age: 86_400, tolerance: 1800 })),
        (AT - 300, Ok(())),
        (AT - 1800, Ok(())),
        (AT - 1801, Err(SignatureError::Stale { age: -1801, tolerance: 1800 })),
        (i64::MAX, Err(SignatureError::Stale { age: i64::MAX - AT, tolerance: 1800 })),
        (i64::MIN, Err(SignatureError::Stale { age: i64::MIN, tolerance: 1800 })),
    ] {
        let judged = verify(Some(header.as_bytes()), BODY, &[secret("wsec_test_secret")], now, TOLERANCE);
        assert_eq!(judged, result, "at {now}");
    }
}

#[test]
fn any_change_of_body_time_or_secret_is_refused() {
    let bodies = proptest::collection::vec(any::<u8>(), 1..300);
    let words = "[!-~]{16,80}";
    let how = (any::<proptest::sample::Index>(), 1..=255u8, 1..1800i64, 0..4u8);
    for_any(2000, &(bodies, words, how, 0..2_000_000_000i64), |(body, word, (place, bit, later, how), at)| {
        let key = secret(&word);
        let header = sign(&key, at, &body);
        let check = |header: &str, body: &[u8], key: &Secret| {
            verify(Some(header.as_bytes()), body, std::slice::from_ref(key), at, TOLERANCE)
        };
        assert_eq!(check(&header, &body, &key), Ok(()));
        let judged = match how {
            0 => {
                let mut other = body.clone();
                let at = place.index(other.len());
                other[at] ^= bit;
                check(&header, &other, &key)
            }
            1 => check(&header, &body[..place.index(body.len())], &key),
            2 => check(&header.replace(&format!("t={at},"), &format!("t={},", at + later % 300)), &body, &key),
            _ => check(&header, &body, &secret(&format!("{word}x"))),
        };
        // The same time is no change.
        let same = how == 2 && later % 300 == 0;
        assert_eq!(judged, if same { Ok(()) } else { Err(SignatureError::Mismatch) });
    });
}

#[test]
fn a_body_in_pieces_is_the_same_body() {
    let bodies = proptest::collection::vec(any::<u8>(), 0..500);
    for_any(300, &(bodies, proptest::collection::vec(1..60usize, 1..20)), |(body, sizes)| {
        let key = secret("wsec_test_secret");
        let header = sign(&key, AT, &body);
        let mut verification =
            Verifier::begin(Some(header.as_bytes()), std::slice::from_ref(&key), AT, TOLERANCE).unwrap();
        let mut rest = &*body;
        for size in sizes.iter().cycle() {
            let (piece, more) = rest.split_at((*size).min(rest.len()));
            verification.update(piece);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(verification.finish(), Ok(()));
    });
}

#[test]
fn no_header_makes_it_panic_or_is_taken_by_chance() {
    let like_one = proptest::collection::vec(
        prop_oneof![
            Just("t=".to_owned()),
            Just(format!("t={AT}")),
            Just("v0=".to_owned()),
            Just(V0[..40].to_owned()),
            Just(",".to_owned()),
            "[0-9a-f=,; ]{0,9}",
            any::<String>(),
        ],
        0..12,
    );
    for_any(3000, &like_one, |parts| {
        assert!(judge(&parts.concat()).is_err());
    });
    for_any(1000, &proptest::collection::vec(any::<u8>(), 0..200), |header| {
        assert!(verify(Some(&header), BODY, &[secret("wsec_test_secret")], AT, TOLERANCE).is_err());
    });
}

/// Judges `[{"body", "header", "secret"}…]` by ElevenLabs' own verifier; it looks at the present time.
const SDK_VERIFIER: &str = r"
import json, sys
from elevenlabs.webhooks_custom import WebhooksClient
construct = WebhooksClient.construct_event
def judge(case):
    try:
        construct(None, case['body'], case['header'], case['secret'])
        return True
    except Exception as error:
        if type(error).__name__ != 'BadRequestError':
            raise
        return False
print(json.dumps([judge(case) for case in json.load(sys.stdin)]))
";

#[test]
fn elevenlabs_own_sdk_takes_what_this_signs_and_refuses_what_this_refuses() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let body = r#"{"type":"post_call_transcription","event_timestamp":1739537297,"data":{"words":"Grüße, 東京 🚚"}}"#;
    let word = "wsec_0123456789abcdef";
    let header = sign(&secret(word), now, body.as_bytes());
    let cases = [
        (body.to_owned(), header.clone(), word),
        ("{}".to_owned(), sign(&secret(word), now - 1700, b"{}"), word),
        (body.replace("words", "Words"), header.clone(), word),
        (body.to_owned(), header.clone(), "wsec_0123456789abcdeF"),
        (body.to_owned(), header.replace(&format!("t={now}"), &format!("t={}", now - 1)), word),
        (body.to_owned(), sign(&secret(word), now - 1900, body.as_bytes()), word),
        (body.to_owned(), header.replace("v0=", "v1="), word),
    ];
    let input: Value =
        cases.iter().map(|(body, header, secret)| json!({"body": body, "header": header, "secret": secret})).collect();
    let theirs: Vec<bool> = serde_json::from_value(sdk_python(SDK_VERIFIER, &input)).unwrap();
    let ours: Vec<bool> = cases
        .iter()
        .map(|(body, header, word)| {
            verify(Some(header.as_bytes()), body.as_bytes(), &[secret(word)], now, TOLERANCE).is_ok()
        })
        .collect();
    assert_eq!(theirs, [true, true, false, false, false, false, false]);
    assert_eq!(ours, theirs);
}
