//! transcribe-hook receives the dialogue turns of ElevenLabs voice-agent phone calls by webhook, keeps calls and
//! transcriptions in one SQLite file, and gives them back.
//!
//! This page is the architecture, for who carries the code on. How to use the service is in `README.md`, how to call it
//! in `openapi/README.md`.
//!
//! # Map
//!
//! Data flows down only; a test (`tests/it/tidy.rs`) keeps it so.
//!
//! | layer | knows | module |
//! | --- | --- | --- |
//! | command line | clap; the one place that exits | [`cli`], [`telemetry`] |
//! | running service | poem; route tree, layers, order of stopping | [`server`] |
//! | page to read calls | poem; its own files, which use the HTTP interface as any client | [`viewer`] |
//! | HTTP interface | poem-openapi; what is taken and answered, the document | [`api`] |
//! | work | reading deliveries and files; queueing and batching; reconciling what is due | [`ingest`], [`import`], [`drivers`], [`writer`], [`reconciler`], [`pace`], [`packing`] |
//! | the platform from this side | its API, as a client; its agents' tools; what is missing here | [`platform`], [`backfill`] |
//! | recordings | files | [`recording`] |
//! | what is not kept | what is found in words and replaced | [`redact`] |
//! | what goes | what is old, and in what steps it is erased | [`retention`] |
//! | live streams | what is new since a place; bounds and pace of all streams | [`tail`] |
//! | figures | what many calls come to, by day of a time zone and by driver | [`stats`] |
//! | copies | when one is due, names, what is kept | [`backups`] |
//! | calls on their way out | forms that others read; JSON lines that are read back | [`export`] |
//! | storage | SQL, in [`store::sqlite`] only; a batch is one transaction | [`store`] |
//! | ways of working | opening files safely; files that get their name once they are whole; going last; what terminals are shown | [`files`], [`aside`], [`background`], [`terminal`] |
//! | numbers about itself | Prometheus's metrics; recorded into by all above | [`metrics`] |
//! | words of the domain | nothing else | [`model`], [`fields`], [`repair`], [`secret`], [`signature`] |
//!
//! There are two families of types: the wire's own in [`api`], and the domain's in [`model`], which are valid by
//! construction. Rows become domain types inside the store.
//!
//! # The way of one turn
//!
//! 1. [`server::Edge`] gives the request its id and starts its log line.
//! 2. `api::webhooks` takes the body, bounded, as bytes, and [`ingest::read_turn`] makes a [`model::NewTurn`] of it or
//!    names every field that breaks a rule (400).
//! 3. [`writer::Writer::write`] puts it into the bounded queue (full: 503) and waits.
//! 4. The writer's thread takes what is waiting, at most 256 writes, and calls [`store::Store::apply`]: `BEGIN IMMEDIATE`, then
//!    for each turn: find its call or make it, look for a repeat, insert; then each call's row once; `COMMIT`, which with
//!    `synchronous=FULL` returns when the log is on disk.
//! 5. Each waiting request gets its own outcome: 201 with the turn's numbers, or 422.
//!
//! # What always holds
//!
//! - **201 means on disk.** Nothing answers before the commit. A repeat found in a log that a crashed process left is on
//!   disk too: opening syncs and folds that log in before anything is served.
//! - **Once.** A repeat is looked for in the same transaction that would store it, by the one writer.
//! - **In order, without gaps.** `sequence_number` is the call's `turn_count` plus one, in the same transaction; turns are
//!   never deleted one by one. `id` is never used twice (`AUTOINCREMENT`), so that "newer than" keeps its meaning.
//! - **A failure is never 2xx**, and nothing waits without bound: the queue is bounded in number and in bytes, a write
//!   in its waiting time, a read in its running time, a body in its length.
//! - **Readers do not delay the writer**: WAL; read-only connections; each read one short snapshot.
//! - **One service a file**, by a lock file and a lock of the file itself; only its writing connection moves the log into the
//!   database. A file that is reached by two names is refused.
//! - **What is acknowledged is found again**: a batch whose files are not at their path any more is answered 503.
//! - **Nobody in the process opens the database's file but SQLite**: closing any descriptor of it would drop SQLite's locks.
//!
//! # Implementation notes
//!
//! **Driver lookup.** The driver of a call is the one whom the surest source names: the dispatch with the same
//! `conversation_id`, then what the platform's reports say ([`reconcile::identify_closed`]). It is looked up when the first turn makes
//! the call, and again when a dispatch, a report or a driver comes. What names another driver is shown as the conflict.
//! A call whose driver is unknown is kept with NULL and a warning: a dialler's own record often comes after the first
//! words. Deleting a driver keeps calls and dispatches, without a driver.
//!
//! **The whole call.** Each event of ElevenLabs is stored raw, once, together with what was read of it. The same transaction
//! notes its call as due, and nothing more; so do a history, and a late turn of a call that has either. [`reconciler`]
//! reads such a call in a snapshot, plans it out of *all* that is stored of it ([`reconcile::settle`]: facts by
//! [`model::Combined`], turns by [`reconcile::plan`]), and has the writer store the result as data
//! ([`store::Write::Reconcile`]), in slices of some hundred rows. Applying it depends on file and batch alone. A plan is void
//! if another one was stored since it was made; turns and records that came meanwhile leave the call due, behind the others.
//! Requests wait a moment for a call that they made due, so that their senders read what they sent.
//! Nothing depends on what came first, which is what makes any order end in the same call. A turn's
//! row never changes its number, its words as heard or its sender's time; it gains `final_text`, `record_time`,
//! `interrupted`, `in_record`, `place` in the true order, and `superseded_by` where another row stands for it: a turn that
//! comes after the record is stored under its own number, and the row that was made for the record's entry steps back. A call
//! without a record has none of this and pays nothing for it.
//! Of several transcripts the one with most entries counts, whatever kind of report has it, so that no later event makes a
//! call poorer; words that traces may have cut off do not shorten those that were heard.
//! The record after a call is taken to be complete, the histories of tools not to be. Histories are not signed: once there
//! is a signed record they change neither driver nor facts, and once it has words, not the transcript; what they claim
//! otherwise is shown in `driver_conflict`. Where no record says when a call
//! began, its earliest turn does, and where there is none, the time of the report.
//!
//! **Sequence numbers.** Counting rows, or taking the maximum, would cost more the longer a call is, and outside the
//! transaction would give one number twice. `turn_count` in the call's row is both the count and the last number; a
//! batch reads it once for each call that it touches and writes it back once.
//!
//! **Repeats.** With a delivery key (`Idempotency-Key`), the key decides, within the conversation, by a unique index; the
//! same key for another turn is the sender's mistake (422). Without one, the same conversation, speaker, timestamp and words
//! are the same turn, also as one that came with a key. The `tool_call_id` of an envelope decides nothing: language models
//! write it, and many write the same one in every turn. A tool that is called again with a new time therefore stores a
//! second turn, which the record after the call marks as repeated; a turn that was dropped could never be found again. The writer
//! knows the digests of the first 1,000 turns of the calls that run, and reads those of a call that it takes up again from its
//! rows (`repeat_key`, the call's row number above 32 bits of the digest). A partial index finds later turns, so that long
//! calls cost a look-up and ordinary ones nothing. What has the same digest is then compared in
//! full, so a collision costs a comparison and nothing else.
//!
//! **Speaker mapping.** The platform says `agent` and `user`; stored and shown are `agent` and `driver`. In a turn any other word is refused,
//! so that a platform's new word is noticed instead of misfiled. Records and histories come once, so the words that other
//! makers of agents use are read in them; an unknown one is remarked.
//!
//! **Damaged bodies.** ElevenLabs posts an event once, so nothing in it may cost more than itself. [`repair`] reads a body a
//! second time where the strict parser fails; it serves turns, histories, events, batches, imports and redaction alike, and
//! the fast path never meets it. The stored body stays as it came, so a later version may understand more (`replay`). What is
//! lost is a [`model::Remark`]: in the log, in `webhook_events.error`, counted by kind, never with words of the call.
//!
//! **The first turn.** It makes the call: status `in_progress`, `call_start_time` its timestamp, whatever order turns
//! come in later. A turn for a call that is over is stored and leaves the status alone: late is better than lost.
//!
//! **Errors and retries.** Below the HTTP layer errors are small enums that know no status; [`api::error`] gives each
//! its status and words. What went wrong inside is for the log, not for the client. Inside one delivery, a lock that
//! another process holds is waited out (`--write-timeout`) with SQLite's own growing pauses; a batch that fails
//! otherwise is tried write by write, once, so that one that the database refuses does not fail its neighbours. Senders
//! may repeat whatever was not answered: a turn is stored once.
//!
//! **Time.** Instants are UTC with microseconds, as text of fixed width, so that their order as text is their order in
//! time. An offset is converted; without one, UTC is assumed. Digits past the microsecond are cut off, not rounded, so that an instant never moves into
//! the next second. The order of a call is the order of commit, never the clock's. What is measured from a call's start goes
//! by the record's time where there is one, and lies within the call ([`model::Call::offset_micros`]).
//!
//! **What is assumed of ElevenLabs.** `conversation_id` is opaque. No product feature of the platform posts single turns;
//! they come from a tool that the agent's language model calls, so they can be missing, late, repeated or reworded, and
//! tools default to GET, hence the 405 that says to use POST. Tool calls carry no signature. Unknown fields appear without
//! notice and are ignored. The envelope form of tool calls is taken although it is not documented.
//!
//! **Access.** [`api::access`] stands before every route and decides by the path alone what it is for; a path that it does not
//! name is for those who read and manage, so that a new one is guarded without a word. The document's credentials and
//! refusals are made from the same decision. Reading needs a token on every address: no rule tells a proxy or a tunnel on this
//! machine from a program on it. `serve` therefore makes a token where none is configured (`cli/token_file.rs`), and prints it to
//! a terminal only. Tokens are held as digests. A right token is let in however many wrong ones came from its address, since
//! that may be a proxy's and turns must not be lost by it; that is why tokens are long. A session's cookie is an id, an end and a
//! code by the token, so only sign-outs are stored. `server::Edge` forbids caching of all that is not public, and takes webhook
//! paths as people save them before anything else looks at them.
//!
//! **Connections.** They are served on hyper directly ([`server::connections`]), since the framework's server bounds neither
//! their number nor how long a head takes. There are no timers: each connection notes what it waits for and since when, and a
//! sweep closes what is overdue. At the limit a new connection displaces the one that has waited longest for its client, so an
//! attack with slow connections costs the attackers their own; then the oldest live stream, down to a quarter of all. What the service itself is slow at never counts against a
//! client.
//!
//! **HTTPS.** [`server::tls`] gives each handshake the certificate of that moment; what renews it stands aside and only ever
//! replaces it by one that fits its key. An authority is asked by instant-acme over ureq rather than by the framework's
//! listener, which cannot start while the authority is away, makes an account at each start, and needs a second TLS provider.
//!
//! **Signatures.** `api::signed` is the one way in for what the platform posts after a call. The header is looked at before
//! the body, the digest is computed while the body comes, as it comes, and nothing of the body is believed, or unpacked but for
//! its beginning, before the last byte: an event waits in memory, a recording in a file aside.
//!
//! **What strangers hold.** Long bodies share one [`api::budget`], recordings another one of four places. Only what was received
//! counts. When one is exhausted, the slowest body gives way whose sender no token proves: who only avoids the time-outs
//! holds nothing that a faster sender needs. Refusing the new one instead would let anybody keep all recordings out with four
//! connections. Rates are averages over two seconds, so that a burst counts for little; no body displaces a faster one. A
//! signed body is a stranger's until its last byte.
//!
//! **Reads.** `api::reading` has two lanes. A read of little (one thing, a first page) never waits for one that looks at much.
//! Each lane bounds its reads at once, those that wait, and the memory of the answers that are not received yet; whatever waits
//! does so until the one deadline of its request ([`store::reading_until`]), at which SQLite is interrupted, too. A page ends
//! at 8 MiB of text. Packing and wording are done on the read's thread, so that no long answer holds up a connection. A read
//! that looks at much has a thread of its own with a lower priority: on two cores with 30 such readers, that took the 99th
//! percentile of other reads from 200 ms to below 30 ms.
//!
//! **Recordings.** They are files beside the database, named for their conversation, so that a backup of the database is
//! without them. The platform posts each once and never again. Erasing a call erases its recording first, so that an erasure that
//! failed halfway can be done again.
//!
//! **Erasing.** A deleted row's bytes stand in three more places. In its page they are zeroed by SQLite
//! (`secure_delete`). In pages from which rows moved when they were split SQLite leaves copies, in the part that holds
//! nothing. The writing connection's VFS zeroes that part when a page is written into the database, and does nothing
//! else (`store/sqlite/page_scrub.rs` says how it tells such a page, whatever `auto_vacuum` is). Older states of the
//! pages stand in the log, which the writer folds in and cuts off a second after an erasure, also under load, and in the
//! memory from which pages are written again, which it gives back then. The search index and its log are treated alike, after
//! the index has taken the erasure in; if it cannot, its file is deleted. Readers are never held up for it; if some are always there,
//! the writer waits for them, 25 ms a second. A command beside the service does the same by its own connection.
//! A long call is erased in slices (`store/sqlite/erase.rs`, [`retention::Slices`]): noted in `unfinished_calls`, from its last
//! turn backwards, so that what is left has no gaps. While the note is there nothing is stored for the conversation, exports
//! pass over it, and a start goes on. Restoring a long call uses the same note: what is cut off is erased.
//! An erased call leaves a digest of its name, for which the platform's later reports are dropped: its retries
//! would otherwise undo the erasure within the hour, and `backfill` ever after. A pruned call leaves nothing.
//!
//! **Redaction.** Words are replaced before anything is made of them: a turn's and a history's on their way to the writer, an
//! event's in its body, of which then everything else is read. So repeats are recognised by what is stored, turns and
//! records agree, and `replay` finds nothing that was not kept. An event's digest is that of its body as it is stored: one
//! of the body as it came would tell a number of nine digits to whoever tries them all. It follows that a delivery
//! which is repeated after the flag was changed may be kept twice, or be refused by its key.
//!
//! **Age.** Retention counts from a call's end or last turn by the senders' clocks, but what was heard while it ran counts
//! from its arrival if that is later: language models invent times, and a call of today must not go for being dated 2020. What
//! is fetched afterwards is as old as it says. The present is believed only while something arrived within a day whose
//! sender's clock agrees with it, or after a day of running evenly ([`retention::WatchedClock`]).
//!
//! **The page.** It is made in the browser, out of the public API, since it must live there anyway to follow a call; so there
//! is one source of what is shown, and no word of a call is ever put into HTML: the policy that comes with the page has the
//! browser refuse that (`require-trusted-types-for`). There is no build step: modules stand in `viewer/assets` as they are
//! sent, in a folder named for the digest of them all, so they name one another plainly and are kept for good. One stream of
//! all calls feeds list and call; on each opening both are read again, and what comes twice is the same thing twice.
//!
//! **Backfill.** There is no note of how far it came: what is complete is seen in the calls themselves, so a run that was
//! interrupted, and one too many, need no care. What is fetched becomes the same event whenever it is fetched, and goes
//! the way of one that was posted. A conversation that the platform fails to give does not hinder the others; three in a
//! row, or a refused key, end the run.
//!
//! **Search.** The index is FTS5 over both texts of a turn, in a file of its own (`store::sqlite`, `search`), so that the
//! database holds plain tables only. FTS5 forgets what is erased at once only in a format that SQLite before 3.42 refuses, so
//! after an erasure all of the index is rewritten instead, in slices.
//! Filling it in the transaction that stores a turn would take a third to a half of the turns a second, so the writer
//! fills it afterwards, in slices whose size and share of its time are bounded ([`pace`]). Triggers of the database note
//! the numbers of turns that change or go (`search_changes`), whoever writes. The index has a copy of the words, so that
//! it needs no more than the number to forget a turn, and what a crash between the commits of both files leaves is
//! simply done again. The copy is somewhat more than half of the file. Noting the old words in the database instead
//! would leave erased words there, and a word that is forgotten twice breaks the index. The index is on disk before the
//! database deletes what was noted. Both files hold a random name, and how far they have counted, by which an index of
//! another file, or of another state of it, is found out and made anew. What is not in the index yet is searched in an
//! index in memory that a reader makes of it. FTS5 is only asked which turns match, newest first, which it gives one by
//! one; its own rank would have to look at each of a million turns with a common word, so the newest some hundred are
//! ranked by themselves. Words that a prefix stands for are written out, for the same reason; where they are too many,
//! the newest turns themselves are looked at first, since either many of them match or FTS5 has few to bring together.
//! (FTS5's own indexes of prefixes would make the index up to three times as large, and twice as dear to fill.) Of each
//! 1,024 neighbours it is kept between which times they were said and their calls began, so that "last month's calls"
//! passes over all other turns. Accents that FTS5 does not fold are the query's matter: a word is looked for in each way
//! in which it may be written, so the index stays one that any program with SQLite from 3.38 on can use, and what is
//! marked is what was said.
//!
//! **Metrics.** [`metrics::METRICS`] is a static, as the log is: a handle through every layer would say nothing more. What is
//! recorded for each turn is gathered by the batch; what has to be asked for is asked for by the scrape. Routes are
//! templates and other labels words of ours, so that nothing a client sends makes a new series, or is in one.
//!
//! **Live streams.** An event's id is a place in the order of commits: the last turn's id and the number of the last change
//! of a call (`call_changes`, which triggers fill, so that whoever writes is heard of). Turns need no log of their own, since
//! their ids grow with each commit; a change knows the last turn before it, which merges the two. So nothing is kept for
//! a stream that is away, and any id means the same after a restart. A change shows the call as it is when it is read, so of
//! a call's old changes the last one says all: those that a later one stands for are dropped behind 100,000 newer ones, and
//! nothing else is. The steps of one transaction are one change of each call. After each batch the writer only flips a
//! flag, and only while there is a stream does anybody look; what is read for one stream at a place is sent to all that
//! stand there. All streams share a bounded part of the machine (`tail/pace.rs`): when they are many, or much comes, their
//! pieces become longer and later, and ingest keeps the rest.
//!
//! **Figures.** Who talked how much is summed up of each call once, in the transaction that ends it or changes how its turns
//! stand (`call_figures`); statistics then read one short row a call instead of its turns, and of the call what an index
//! has of those that are over, since its own row is long. For calls that run, and those to
//! which a turn came late, it is made when it is asked for. A turn never waits for it.
//!
//! **SQLite.** The bundled version is asserted to be 3.51.3 or later: earlier ones could lose a committed transaction
//! when two connections met at a log's reset. A new database is made aside and renamed once it is whole. After two quiet seconds, and when the
//! service stops, the log is folded in, so that the one file is everything. `cp` of a file in use is not a copy; `backup`
//! is. Migrations run grouped, so that each commits together with its history row: a process killed between the two could never start again.
//!
//! **Places.** SQLite finds a WAL by the database's name, so the name must be one: hard links and files that are mounted alone
//! are refused. Device and inode of the database, its WAL and the WAL's index are compared with those at the path after each
//! commit, before it is answered, and every 0.4 s; if another process has moved, replaced or linked one of them, nothing is
//! written or copied until it is back. If only the WAL's name is gone, the service moves what it holds into the database at
//! once. `restore` exchanges two whole files by one rename. What certainly belongs to another database is refused at the start
//! (`store/sqlite/header.rs`): a WAL beside a copy in rollback mode, or one whose first page is older or newer than it can be.
//!
//! **A full disk at the start.** The WAL's index is a file that takes room. Until there is some, one connection reads with the
//! index in its memory (`locking_mode=EXCLUSIVE`), and turns are answered 503.
//!
//! **Copies.** A backup copies pages by SQLite's own interface, whose usual trouble is that every write by another
//! connection makes it begin again. It does not where the reading connection holds a read transaction over all steps: the
//! snapshot never changes. It builds no tree anew as `VACUUM INTO` does,
//! and any copy is page by page what the database was, so that what is broken in one is noticed when it is checked. Working
//! half of the time, in a thread that goes last, with a sync for every 8 MiB, keeps commits from waiting for
//! processor or disk. `.partial` files are locked, which is how a running copy is told from what a killed process left.
//!
//! **Work in the background** ([`background`]): what holds nothing up, as checking a copy and exporting do, runs in threads
//! of Linux's idle class. The lowest `nice` value is not enough: a thread that wakes up still waits until such a one has had
//! its slice of some milliseconds. Beside a loop that only counts, the service stored 0.60 of the turns a second at `nice`
//! 19 and 0.85 in the idle class. Longer pauses, and syncs more often, changed nothing that shows. A thread of that class may
//! wait for long on a machine that is never idle, so copying, for which the log grows, is not done in it.
//!
//! **Exports.** What leaves as JSON lines are the tables' rows, column by column and not by way of the domain's types, so that
//! a column that a later version adds is carried without anybody's thinking of it, and what comes back is equal: ids, keys,
//! raw events and what was made of them included. What is derived (the index of words, the changes, the figures) is made
//! anew. On its way back a row must keep the tables' rules and read as the domain's values; each thing is a savepoint. A call
//! is written aside while its snapshot is held, and sent from there.
//!
//! **Litestream** reads the WAL and moves it into the database itself. With `--litestream` the service therefore never does.
//! It writes pages as they are, so that copies of erased words may remain in unused parts of pages.
//!
//! **Speed.** Where a turn's time went, measured at 63 in flight on two cores (of some 64 microseconds a turn, 20 turns a
//! commit): statements and indexes 18, the call's row 3, the log's writes 9, the sync 20 to 25, checkpoints 4, the rest of
//! the commit 5, answering 1; the writer waited for turns 8. Beside it, on the other core, HTTP and JSON took 41 and the
//! client 17. What was taken away since: the index on `repeat_key`, of which the writer's memory knows enough. Of the pages
//! that a commit writes, most are of the two indexes with `conversation_id` and `sequence_number` that the schema names.
//! Tried without a gain that shows in turns a second, so left out: syncing in a thread of its own while the next batch is
//! written, answering from a task instead of the writer's thread, rows inserted eight at a time, pages of 1 KiB,
//! checkpoints four times as rare, a greater page cache, `fdatasync` for `fsync`, SQLite without memory
//! statistics and other leaner builds of it, another allocator (which also took 26 MB more), and one worker instead of two.
//! Syncing beside the next batch was measured again on a machine with idle processor time, and lost: batches are half as
//! large then, and a commit's pages weigh more than the wait. So did moving the log into the database in a thread of its own
//! while turns are stored: the disk is what both wait for, and the slowest turns wait as long. Pages of 2 KiB, measured again
//! with another way to write the WAL, stored 3 % more turns a second, which is not worth two kinds of files. Fewer arenas of the allocator keep memory a tenth smaller and
//! cost a fifth (two) to a third (one) of the turns a second at 64 in flight, so there are as many as it makes itself.
//! Writing zeros ahead of the log, so that a commit need not lengthen the file while a backup keeps the log from being emptied,
//! halves the sync of a single small write and changed nothing here. What a request's future holds could be put on the heap,
//! for 6 KB less on each idle connection: a few percent fewer turns a second at 500 in flight.

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
