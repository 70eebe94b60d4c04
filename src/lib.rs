//! transcribe-hook receives the turns of ElevenLabs voice-agent phone calls by webhook, stores calls and transcriptions
//! in one SQLite file, and serves them as an API, as a page and as files.
//!
//! This page describes the architecture. The reasons for a design stand in the documentation of its module. `README.md`
//! explains how to run the service, `openapi/README.md` how to call it, `openapi/implementation-notes.md` what it
//! assumes of its clients and of ElevenLabs, and `benches/README.md` how fast it is. `tests/README.md` says where
//! typical changes go, `migrations/README.md` describes the file.
//!
//! ## Map
//!
//! Dependencies point downwards only, which `tests/it/source/tidy.rs` checks.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`cli`] | commands and flags; the only place that prints and exits |
//! | [`server`] | transport, TLS, middleware, wiring, shutdown |
//! | [`api`] | HTTP operations, wire types, OpenAPI, the MCP server |
//! | [`viewer`] | the web page, a client of the public API |
//! | [`jobs`] | work that runs on a schedule or over many calls: backfill, backup, retention, checks, access log |
//! | [`live`] | fan-out of committed changes to SSE subscribers |
//! | [`outgoing`] | webhooks that notify other programs of calls |
//! | [`export`] | formats for other programs, and JSON lines that can be restored |
//! | [`import`] | drivers, dispatches and calls from files |
//! | [`ingest`] | the write path: queue, writer thread, post-call events, reconciliation of due calls |
//! | [`redaction`] | finds and replaces personal data in text and JSON |
//! | [`recordings`] | audio files |
//! | [`store`] | the storage interface; SQL only in [`store::sqlite`] |
//! | [`elevenlabs`] | payloads, signature, API client, agent tool, sample call |
//! | [`telemetry`] | logs, metrics and findings of checks, which all layers above write |
//! | [`secret`] | secrets and tokens |
//! | [`domain`] | types that are valid by construction, reconciliation, statistics |
//! | [`sys`] | files, gzip, thread priority, terminals |
//!
//! The API has its own wire types. All other layers use the domain types of [`domain`], and the store converts rows to
//! them.
//!
//! ## The way of a turn
//!
//! 1. [`server::RequestLayer`] assigns the request id, adds the headers of every response, and logs the request.
//! 2. `api::webhooks` reads the bounded body. [`elevenlabs::turn::parse_turn`] parses a [`domain::NewTurn`] or names
//!    every invalid field (400).
//! 3. [`ingest::Writer::write`] redacts the turn, puts it into the bounded queue (503 if it is full) and waits.
//! 4. The writer thread drains at most 256 writes and calls [`store::Commands::apply`]: `BEGIN IMMEDIATE`; for each
//!    turn find or create its call, look for a repeat, insert the turn; then update each call's row once; `COMMIT`.
//!    With `synchronous=FULL`, the commit returns when the WAL is on disk.
//! 5. Each waiting request gets its own outcome: 201 with the turn's ids, or 422.
//!
//! A call with a record (or history) also becomes due. [`ingest::reconciler`] reads it in a snapshot,
//! [`domain::reconcile::plan`] computes its transcript from everything that is stored, and the writer stores the
//! result.
//!
//! ## Invariants
//!
//! - **201 means durable.** No request is answered before its commit is on disk. A start syncs the WAL of a crashed
//!   process before it serves anything.
//! - **Stored once.** The transaction that stores a turn also looks for its repeat, and there is only one writer.
//! - **Ordered without gaps.** `sequence_number` is the call's `turn_count` plus one, computed in the same transaction.
//!   Turns are never deleted one by one. Ids are never reused (`AUTOINCREMENT`), so "newer than" keeps its meaning.
//! - **Independent of arrival.** Turns, records and histories may arrive in any order; the call is the same in the end.
//! - **Failures are never 2xx**, and nothing waits without bound: the queue is limited in number and bytes, a write in
//!   its waiting time, a read in its running time, a body in its length.
//! - **Readers do not delay the writer.** The database is in WAL mode, and read-only connections each read one short
//!   snapshot.
//! - **One service per file**, enforced by a lock file and a lock on the database itself. Only its writing connection
//!   runs checkpoints. A file with two names is refused.
//! - **Acknowledged data is found again.** If the files are no longer at their path, the batch is answered 503.
//! - **Only SQLite opens the database in this process**, because closing any other descriptor of the file would release
//!   SQLite's locks.
//! - **Erased stays erased.** An erased call's bytes are purged from the disk, and later events about it are dropped.
//! - **No words of a call and no secrets in logs**, metrics, errors or `Debug` output.
//!
//! ## Glossary
//!
//! - **Agent, driver**: the two speakers. The agent is ElevenLabs' voice agent, the driver is the person on the phone.
//! - **Batch**: the writes of one transaction. (A batch of calls at ElevenLabs is a list of recipients.)
//! - **Call**: a conversation, one row of `calls`. `conversation_id` is ElevenLabs' id of it.
//! - **Change**: a numbered note that something about a call changed, for live streams (`call_changes`).
//! - **Checkpoint**: SQLite's move of the WAL into the database file.
//! - **Delivery**: one HTTP request to a webhook. Its key (`Idempotency-Key`) identifies repeats.
//! - **Dispatch**: the customer's note, by API or file, that a call is placed to a driver.
//! - **Due**: a call is due if records or turns arrived after it was last reconciled.
//! - **Event**: a stored body that ElevenLabs posted, or that backfill fetched.
//! - **History**: the transcript so far, sent by a tool during a call. It is unsigned.
//! - **Notice**: what an outgoing webhook says about a call, such as `call.ended`. Its receivers are endpoints.
//! - **Orphan**: an event or dispatch that belongs to no call.
//! - **Outcome**: the result of one write: done, or rejected. Failures of the database are errors.
//! - **Position**: a place in the order of commits, used as the event id of a live stream. (`place` is a turn's
//!   position in its transcript.)
//! - **Record**: what an event says about a call, such as its transcript and facts.
//! - **Reconcile**: merge a call's live turns with its records into one transcript.
//! - **Repeat**: a delivery of a turn that is already stored.
//! - **Superseded**: a turn that another one replaces in the transcript (`superseded_by`).
//! - **Turn**: one utterance, one row of `call_transcriptions`.
//! - **Unfinished**: a long call that is being erased or restored in slices (`unfinished_calls`).
//! - **Viewer**: the web page at `/`.
//! - **WAL**: SQLite's write-ahead log beside the database. "The log" always means the lines that `tracing` writes.

pub mod api;
pub mod cli;
pub mod domain;
pub mod elevenlabs;
pub mod export;
pub mod import;
pub mod ingest;
pub mod jobs;
pub mod live;
pub mod outgoing;
pub mod recordings;
pub mod redaction;
pub mod secret;
pub mod server;
pub mod store;
pub mod sys;
pub mod telemetry;
pub mod viewer;
