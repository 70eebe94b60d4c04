-- Indexes for lists of the longest calls, of those with the most turns, and of the costliest.
--
-- They have only calls that are over. A turn changes the turn_count of its call, but while the call is in progress, the
-- index of turn_count has no row of it, so a turn writes to none of them.

PRAGMA user_version = 17;

CREATE INDEX calls_longest ON calls (
    coalesce(duration_seconds, strftime('%s', call_end_time) - strftime('%s', call_start_time), 0)
) WHERE status <> 'in_progress';

CREATE INDEX calls_most_turns ON calls (turn_count) WHERE status <> 'in_progress';

CREATE INDEX calls_costliest ON calls (cost) WHERE status <> 'in_progress' AND cost IS NOT NULL;
