//! The `simulate` command: plays a sample call against a running service, as an agent and ElevenLabs would, and checks
//! the result.

use super::args::database::DatabaseArgs;
use super::args::secrets::{ApiTokenSecret, ByClient, IngestToken, Secrets, WebhookSecret};
use super::args::service_url::ServiceUrlArgs;
use super::output::print_line;
use super::service_client::{ServiceClient, api_token, bearer};
use super::usage_error::OrUsage as _;
use crate::domain::Timestamp;
use crate::elevenlabs::sample_call::{self, EXPECTED, ExpectedCall};
use crate::elevenlabs::signature::{HEADER, sign};
use crate::secret::Secret;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Display;

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    #[command(flatten)]
    service: ServiceUrlArgs,
    #[command(flatten)]
    secrets: Secrets<WebhookSecret, ByClient>,
    #[command(flatten)]
    ingest_tokens: Secrets<IngestToken, ByClient>,
    #[command(flatten)]
    api_tokens: Secrets<ApiTokenSecret, ByClient>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

pub(super) fn run(args: &SimulateArgs) -> Result<()> {
    let secrets = args.secrets.read()?;
    let secret = secrets.first().context(
        "the post-call event must be signed; pass the service's --elevenlabs-secret or --elevenlabs-secret-file",
    );
    let secret = secret.or_usage()?;
    let url = args.service.url()?;
    let service = ServiceClient::new(&url, api_token(&args.api_tokens, &args.database, &url)?);
    // Checked before anything is stored.
    let session = service.get("/session")?;
    ensure!(
        session["allowed"] == true,
        "{} requires another API token; pass --api-token, --api-token-file, or the service's --database",
        service.shown("")
    );
    let ingest = bearer(&args.ingest_tokens)?;
    let now = Timestamp::now().unix_micros();
    let conversation_id = format!("conv_simulated_{now:x}");
    let call = SimulatedCall { service: &service, conversation_id: &conversation_id, ingest, secret, json: args.json };
    let played = call.play(now.div_euclid(1_000_000) - 60);
    // What was stored of a failed call would be a live call until it is given up on.
    match played.as_ref().err().and_then(|_| service.delete(&format!("/api/v1/calls/{conversation_id}")).err()) {
        None => played,
        Some(error) => {
            let flags = format!("erase it with `transcribe-hook erase --conversation {conversation_id} --yes`");
            played.with_context(|| format!("call {conversation_id} could not be erased ({error}); {flags}"))
        }
    }
}

/// A simulated call, and what is needed to deliver it.
struct SimulatedCall<'a> {
    service: &'a ServiceClient,
    conversation_id: &'a str,
    /// The header with the ingest token.
    ingest: Option<String>,
    secret: &'a Secret,
    json: bool,
}

impl SimulatedCall<'_> {
    fn say(&self, line: impl Display) {
        if !self.json {
            // A closed pipe does not end the simulation.
            let _ = print_line(line);
        }
    }

    /// Plays the call, which began at `start`, in seconds since 1970, and checks the stored one.
    fn play(&self, start: i64) -> Result<()> {
        let Self { service, conversation_id, secret, .. } = *self;
        let ingest: Vec<_> = self.ingest.iter().map(|value| ("authorization", value.as_str())).collect();
        let say = |line: String| self.say(line);
        say(format!("call {conversation_id} at {}", service.shown("")));

        say("turns sent by the agent's tool during the call:".to_owned());
        for delivery in sample_call::live_turns(conversation_id, start) {
            let answer = service
                .post("/webhooks/elevenlabs/transcription", &ingest, &delivery.body.to_string(), 201)
                .context("a turn was not stored (on 401 pass --ingest-token or --ingest-token-file)")?;
            let text = |field: &str| delivery.body[field].as_str().unwrap_or_default().to_owned();
            let note = if delivery.note.is_empty() { String::new() } else { format!("  ({})", delivery.note) };
            say(format!("  turn {:>2}  {:5}  {}{note}", answer["sequence_number"], text("speaker"), text("message")));
        }
        say("  (one turn is lost on purpose)".to_owned());

        let event = sample_call::post_call(conversation_id, start).to_string();
        let signed_at = Timestamp::now().unix_micros().div_euclid(1_000_000);
        let signature = sign(secret, signed_at, event.as_bytes());
        service.post("/webhooks/elevenlabs/post-call", &[(HEADER, &signature)], &event, 200)?;
        say("post-call event accepted".to_owned());

        let call = service.get(&format!("/api/v1/calls/{conversation_id}"))?;
        let turns = service.get(&format!("/api/v1/calls/{conversation_id}/transcriptions?order=time&limit=1000"))?;
        let turns = turns["data"].as_array().context("the response has no field data")?;
        say("stored turns, in the order of the call:".to_owned());
        for turn in turns {
            let text = |field: &str| turn[field].as_str().unwrap_or_default();
            say(format!(
                "  turn {:>2}  {:9}  {:6}  {}",
                turn["sequence_number"],
                text("source"),
                text("speaker_type"),
                text("message_text")
            ));
            if let Some(spoken) = turn["final_text"].as_str() {
                say(format!("{:28}final text: {spoken}", ""));
            }
        }
        let problems = problems(&call, turns);
        if self.json {
            print_line(json!({"call": call, "transcriptions": turns, "problems": problems}))?;
        }
        let counts = counts(&call);
        say(format!(
            "reconciled: {} matched ({} corrected), {} added, {} live only",
            counts.matched, counts.corrected, counts.added, counts.live_only
        ));
        if !problems.is_empty() {
            bail!("the stored call differs from the expected one: {}", problems.join("; "));
        }
        say("the call is whole".to_owned());
        Ok(())
    }
}

fn counts(call: &Value) -> ExpectedCall {
    let count = |field: &str| call[field].as_i64().unwrap_or(-1);
    ExpectedCall {
        live_only: count("live_only"),
        matched: count("matched"),
        added: count("added"),
        corrected: count("corrected"),
    }
}

/// Returns the differences between the stored call and the expected one.
fn problems(call: &Value, turns: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let text = |turn: &Value, field: &str| turn[field].as_str().map(str::to_owned);
    let stored: Vec<_> = turns
        .iter()
        .map(|turn| {
            let words = text(turn, "final_text").or_else(|| text(turn, "message_text")).unwrap_or_default();
            (text(turn, "speaker_type").unwrap_or_default(), words)
        })
        .collect();
    let spoken: Vec<_> =
        sample_call::spoken().into_iter().map(|(who, words)| (who.to_owned(), words.to_owned())).collect();
    if stored != spoken {
        problems.push(format!("{} turns are stored, but {} different ones were spoken", stored.len(), spoken.len()));
    }
    if counts(call) != EXPECTED {
        problems.push(format!("reconciliation counts are {:?} instead of {EXPECTED:?}", counts(call)));
    }
    if call["status"] != "completed" {
        problems.push(format!("status is {}", call["status"]));
    }
    problems
}
