-- What statistics read of calls that are over, side by side: a call's row holds long texts before some of these columns. Calls
-- that run are not in it, so that a turn does not change it.

PRAGMA user_version = 9;

CREATE INDEX calls_over ON calls (
    call_start_time, status, driver_id, call_end_time, duration_seconds, turn_count,
    live_only, matched, added, corrected, repeated
) WHERE status <> 'in_progress';
