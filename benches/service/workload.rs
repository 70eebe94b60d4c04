//! The workload: calls as ElevenLabs delivers them, turn by turn, as ready-made requests.
//!
//! A request is rendered once for each place in a call; before it is sent, only the conversation's id and the time are
//! copied into it. Scripts with the same seed are equal.

use std::io::Write as _;
use transcribe_hook::domain::NewTurn;
use transcribe_hook::elevenlabs::turn;

/// Path of the webhook for turns.
pub(crate) const TURN_WEBHOOK_PATH: &str = "/webhooks/elevenlabs/transcription";

/// Number of turns in a call.
pub(crate) const TURNS_PER_CALL: u32 = 40;

/// Time between two turns of a call, in milliseconds.
const STEP_MILLISECONDS: u32 = 250;

/// Messages of agents. With the drivers' messages, the average is about 120 bytes.
const AGENT: [&str; 5] = [
    "Hi, this is dispatch calling about load 48213 out of Joliet. Do you have a minute to go over where you are and \
     how the trip is going?",
    "Thanks. And what is your estimated time of arrival at the receiver in Columbus, given the traffic you see right \
     now?",
    "Got it, I noted forty five degrees on the reefer. The rate confirmation asks for thirty eight, is the unit set to \
     continuous?",
    "Okay. Please send a photo of the seal and of the bill of lading through the app as soon as you are loaded and \
     signed out.",
    "Understood, I will let the broker know about the two hour delay, and someone will call you back about the \
     detention pay.",
];

/// Messages of drivers, with escapes and other alphabets.
const DRIVER: [&str; 5] = [
    "Yeah, I'm parked at the Joliet terminal, door fourteen. They said another hour or so until somebody gets to the \
     trailer.",
    "The reefer reads forty five degrees, and the guard said \\\"that is what the paper says\\\", so I don't know, you \
     tell me please.",
    "I'm about a hundred and twenty miles out, so call it two and a half hours, three with the construction on seventy \
     east.",
    "No, no lumper here, they unload themselves. But the receiver wants the appointment number again, do you have it \
     handy?",
    "Sí, está bien, I will take the photo when I have the seal, the yard is full — right now I can't even get to the \
     back doors.",
];

/// Length of a conversation's id, in bytes.
const ID_LENGTH: usize = 33;
/// Length of a time without its `Z`, in bytes.
const TIME_LENGTH: usize = 23;

/// A request with placeholders for the conversation's id and the time.
struct Template {
    request: Vec<u8>,
    body_at: usize,
    id_at: usize,
    time_at: usize,
}

impl Template {
    fn new(path: &str, place: u32) -> Self {
        let words = usize::try_from(place / 2).expect("small") % AGENT.len();
        let (speaker, message) =
            if place.is_multiple_of(2) { ("agent", AGENT[words]) } else { ("user", DRIVER[words]) };
        let (id, time) = ("i".repeat(ID_LENGTH), "t".repeat(TIME_LENGTH));
        let body = format!(
            r#"{{"conversation_id":"{id}","speaker":"{speaker}","message":"{message}","timestamp":"{time}Z"}}"#
        );
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: transcribe-hook-bench\r\nAccept: */*\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let at = |what: &str| head.len() + body.find(what).expect("put there above");
        let (id_at, time_at, body_at) = (at(&id), at(&time), head.len());
        Self { request: (head + &body).into_bytes(), body_at, id_at, time_at }
    }
}

struct Call {
    id: [u8; ID_LENGTH],
    turn: u32,
}

/// Calls that run at the same time.
pub(crate) struct Script {
    templates: Vec<Template>,
    calls: Vec<Call>,
    turns_per_call: u32,
    random: u64,
    /// Start of the next call, in milliseconds since 1970.
    began: u64,
}

impl Script {
    /// Returns a script that posts to `path`, with `calls` calls at the same time. When a call ends, the next begins;
    /// calls of `None` turns never end. Scripts for one database need different seeds, or else the second script's
    /// turns are repeats.
    pub(crate) fn new(path: &str, calls: usize, turns_per_call: Option<u32>, seed: u64) -> Self {
        let templates = (0..TURNS_PER_CALL).map(|place| Template::new(path, place)).collect();
        let mut script = Self {
            templates,
            calls: Vec::new(),
            turns_per_call: turns_per_call.unwrap_or(u32::MAX),
            random: 0x9E37_79B9_7F4A_7C15 ^ seed,
            began: 1_767_225_600_000 + seed * u64::from(STEP_MILLISECONDS),
        };
        for n in 0..calls {
            let id = script.new_id();
            // Each call begins at another turn. Otherwise all of them would end at the same time.
            let turns = turns_per_call.map_or(TURNS_PER_CALL, |turns| turns.min(TURNS_PER_CALL));
            let under_way = u32::try_from(n * 7).expect("few calls") % turns;
            script.calls.push(Call { id, turn: if turns_per_call.is_some() { under_way } else { 0 } });
        }
        script
    }

    /// Returns the next request of a call, or of the call that follows it.
    pub(crate) fn next(&mut self, call: usize) -> &[u8] {
        &self.render(call).request
    }

    /// Returns the next turn of a call as the service parses it.
    pub(crate) fn next_turn(&mut self, call: usize) -> NewTurn {
        let template = self.render(call);
        turn::parse_turn(&template.request[template.body_at..], None).expect("a valid delivery")
    }

    fn render(&mut self, call: usize) -> &Template {
        let call = call % self.calls.len();
        if self.calls[call].turn == self.turns_per_call {
            let id = self.new_id();
            self.calls[call] = Call { id, turn: 0 };
        }
        let Call { id, turn } = &mut self.calls[call];
        let template = &mut self.templates[usize::try_from(*turn % TURNS_PER_CALL).expect("small")];
        template.request[template.id_at..][..ID_LENGTH].copy_from_slice(id);
        write_instant(&mut template.request[template.time_at..][..TIME_LENGTH], *turn);
        *turn += 1;
        template
    }

    /// Returns an id in the format of ElevenLabs: two digits, and a UUID of version 7 in the alphabet of a `TypeID`
    /// (<https://github.com/jetify-com/typeid/blob/main/spec/README.md>). ElevenLabs does not document the format, but
    /// the ids in its examples have it: the version is in its place, and the time is in 2025. Calls of the same time
    /// are therefore in a hundred places of an index.
    fn new_id(&mut self) -> [u8; ID_LENGTH] {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let random = (u128::from(self.random()) << 64) | u128::from(self.random());
        let uuid =
            (u128::from(self.began) << 80) | (7 << 76) | (2 << 62) | (random >> 52 & 0xfff << 64) | (random >> 66);
        let mut id = *b"conv_0000000000000000000000000000";
        let (digits, letters) = id[5..].split_at_mut(2);
        for (n, digit) in digits.iter_mut().enumerate() {
            *digit = ALPHABET[usize::try_from((random >> (8 * n)) % 10).expect("small")];
        }
        for (n, letter) in letters.iter_mut().rev().enumerate() {
            *letter = ALPHABET[usize::try_from(uuid >> (5 * n) & 31).expect("small")];
        }
        self.began += u64::from(TURNS_PER_CALL * STEP_MILLISECONDS);
        id
    }

    /// Returns a pseudo-random number by xorshift, which is cheap and has no short period.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// Writes the time of the call's turn with this number, as `2026-09-01T00:00:00.000`.
fn write_instant(mut into: &mut [u8], turn: u32) {
    const DAY: u32 = 24 * 60 * 60 * 1000;
    let steps_a_day = DAY / STEP_MILLISECONDS;
    let (day, time) = (1 + turn / steps_a_day, turn % steps_a_day * STEP_MILLISECONDS);
    let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
    let (second, millisecond) = (time / 1000 % 60, time % 1000);
    write!(into, "2026-09-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}")
        .expect("a call of less than a month");
}
