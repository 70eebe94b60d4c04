//! transcribe-hook receives the turns of ElevenLabs voice-agent phone calls by webhook, stores calls and transcriptions
//! in one SQLite file, and serves them as an API, as a page and as files.
//!
//! This page describes the architecture. The reasons for a design stand in the documentation of its module. `README.md`
//! explains how to run the service, `openapi/README.md` how to call it, `openapi/implementation-notes.md` what it
//! assumes of its clients and of ElevenLabs, and `benches/README.md` how fast it is.
//!
//! ## Map
//!
//! Dependencies point downwards only, which `tests/it/tidy.rs` checks.
//!
//! - **Command line:** commands and flags; the only place that exits ([`cli`], [`telemetry`])
//! - **Server:** connections, TLS, routes, shutdown ([`server`])
//! - **Viewer:** the page, a client of the public API ([`viewer`])
//! - **API:** HTTP operations, wire types, access, OpenAPI document ([`api`])
//! - **Write path:** parsing deliveries and files, the writer thread, reconciliation ([`ingest`], [`import`],
//!   [`drivers`], [`events`], [`writer`], [`waiting`], [`pace`], `file_watch`, [`reconciler`])
//! - **ElevenLabs:** payload readers, signatures, API client, agent tool, missing calls ([`elevenlabs`], [`signature`],
//!   [`platform`], [`backfill`])
//! - **Recordings:** audio files beside the database ([`recording`])
//! - **Redaction:** personal data that must not be stored ([`redact`])
//! - **Retention:** erasure of calls, drivers and expired data ([`retention`])
//! - **Live streams:** committed changes, for subscribers ([`tail`])
//! - **Statistics:** numbers over many calls, by day and driver ([`stats`])
//! - **Backups:** schedule and rotation of backups ([`backups`])
//! - **Export:** formats for other programs, and JSON lines that can be restored ([`export`])
//! - **Store:** the storage interface; SQL only in [`store::sqlite`] ([`store`])
//! - **System:** safe files, atomic files, priority, gzip, terminals ([`files`], [`aside`], [`background`],
//!   [`packing`], [`terminal`])
//! - **Metrics:** Prometheus metrics, recorded by all layers above ([`metrics`])
//! - **Domain:** types that are valid by construction, reconciliation of transcripts, JSON repair ([`model`],
//!   [`reconcile`], [`fields`], [`repair`], [`secret`])
//!
//! The API has its own wire types. All other layers use the domain types of [`model`], and the store converts rows to
//! them.
//!
//! ## The way of a turn
//!
//! 1. [`server::Edge`] assigns the request id and starts the request's log line.
//! 2. `api::webhooks` reads the bounded body. [`ingest::read_turn`] parses a [`model::NewTurn`] or names every invalid
//!    field (400).
//! 3. [`writer::Writer::write`] redacts the turn, puts it into the bounded queue (503 if it is full) and waits.
//! 4. The writer thread drains at most 256 writes and calls [`store::Store::apply`]: `BEGIN IMMEDIATE`; for each turn
//!    find or create its call, look for a repeat, insert the turn; then update each call's row once; `COMMIT`. With
//!    `synchronous=FULL`, the commit returns when the WAL is on disk.
//! 5. Each waiting request gets its own outcome: 201 with the turn's ids, or 422.
//!
//! A call with a record (or history) also becomes due. [`reconciler`] reads it in a snapshot, [`reconcile::plan`]
//! computes its transcript from everything that is stored, and the writer stores the result.
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
pub mod aside;
pub mod backfill;
pub mod background;
pub mod backups;
pub mod cli;
pub mod drivers;
pub mod elevenlabs;
pub mod events;
pub mod export;
pub mod fields;
mod file_watch;
pub mod files;
pub mod import;
pub mod ingest;
pub mod metrics;
pub mod model;
pub mod pace;
pub mod packing;
pub mod platform;
pub mod reconcile;
pub mod reconciler;
pub mod recording;
pub mod redact;
pub mod repair;
pub mod retention;
pub mod secret;
pub mod server;
pub mod signature;
pub mod stats;
pub mod store;
pub mod tail;
pub mod telemetry;
pub mod terminal;
pub mod viewer;
pub mod waiting;
pub mod writer;
