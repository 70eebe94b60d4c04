-- Calls that are erased or restored in slices, and repeats of turns late in long calls.

PRAGMA user_version = 11;

-- Calls with more turns than one transaction erases or restores. While a call is listed here, nothing new is stored for it,
-- and the next start completes what a crash cut off: it erases what is left of the call.
CREATE TABLE unfinished_calls (
    conversation_id TEXT PRIMARY KEY CHECK (conversation_id <> ''), -- a call, or one whose row is gone already
    kind            TEXT NOT NULL CHECK (kind IN ('erase', 'restore'))
) STRICT;

-- The service remembers the digests of a call's first 1,000 turns. This index finds those of later turns, so that a call of
-- any length costs a repeat one look-up, and calls of ordinary length cost nothing.
CREATE INDEX call_transcriptions_late_repeat ON call_transcriptions (repeat_key) WHERE sequence_number > 1000;
