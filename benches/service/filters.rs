//! The first page of the list of calls by each filter and pair of filters, over a large database.
//!
//! Some values are common, some rare, some occur only in the oldest calls, and some not at all: an index that serves
//! one of these well may serve another badly.

use crate::fill::Filled;
use crate::reads::{Latency, Reader};
use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

/// One filter or pair of filters.
#[derive(Debug, Serialize)]
pub(crate) struct Filtered {
    pub(crate) query: String,
    pub(crate) latency: Latency,
}

/// Number of requests for each query.
const REQUESTS: usize = 300;

/// Queries of one filter.
const SINGLE: [&str; 40] = [
    "status=completed",
    "status=failed",
    "driver_id=7",
    "driver_id=4999",
    "has_driver=false",
    "answered_by=human",
    "answered_by=voicemail",
    "answered_by=fax",
    "answered_by=unknown",
    "outcome=success",
    "outcome=failure",
    "direction=inbound",
    "channel=phone",
    "channel=sms",
    "channel=text",
    "agent_id=agent_day",
    "agent_id=agent_former",
    "agent_id=agent_rare",
    "agent_id=agent_none",
    "language=en",
    "language=pa",
    "language=en&language=pl",
    "environment=staging",
    "tag=tag_vip",
    "tag=tag_rare",
    "tag=tag_none",
    "tool=end_call",
    "tool=rare_tool",
    "tool=no_tool",
    "tool_error=true",
    "alert=alert_fire",
    "alert=alert_rare",
    "alert=alert_none",
    "has_alert=true",
    "min_seconds=3600",
    "max_seconds=9",
    "min_seconds=61&max_seconds=61",
    "number=%2B15550000353",
    "number=9999",
    "has_audio=false",
];

/// Filters that are paired with each status and with a driver.
const PAIRED: [&str; 18] = [
    "answered_by=human",
    "answered_by=fax",
    "outcome=failure",
    "direction=inbound",
    "channel=sms",
    "agent_id=agent_former",
    "agent_id=agent_rare",
    "language=pl",
    "environment=staging",
    "tag=tag_vip",
    "tool=end_call",
    "tool_error=true",
    "alert=alert_fire",
    "has_alert=true",
    "min_seconds=600",
    "number=0353",
    "has_audio=true",
    "reconciled=false",
];

/// Orders, alone and with filters.
const ORDERED: [&str; 15] = [
    "order=asc",
    "order=longest",
    "order=most_turns",
    "order=costliest",
    "order=longest&status=completed",
    "order=longest&driver_id=7",
    "order=longest&answered_by=human",
    "order=longest&outcome=failure",
    "order=longest&RANGE",
    "order=most_turns&status=completed",
    "order=most_turns&channel=phone",
    "order=costliest&agent_id=agent_day",
    "order=costliest&outcome=failure",
    "order=longest&alert=alert_rare",
    "order=costliest&RANGE",
];

/// Other pairs.
const PAIRS: [&str; 21] = [
    "answered_by=voicemail&outcome=success",
    "answered_by=fax&outcome=success",
    "answered_by=busy&outcome=failure",
    "answered_by=human&outcome=unknown",
    "direction=inbound&channel=web",
    "direction=outbound&channel=text",
    "agent_id=agent_day&outcome=failure",
    "agent_id=agent_former&outcome=failure",
    "agent_id=agent_rare&outcome=failure",
    "language=pa&outcome=failure",
    "language=es&answered_by=voicemail",
    "language=pl&agent_id=agent_rare",
    "has_audio=true&RANGE",
    "reconciled=false&RANGE",
    "tool=end_call&RANGE",
    "tool=rare_tool&RANGE",
    "tag=tag_vip&RANGE",
    "alert=alert_rare&RANGE",
    "has_alert=true&outcome=failure",
    "number=0353&RANGE",
    "answered_by=fax&RANGE",
];

/// A week in the midst of the calls.
const RANGE: &str = "started_after=2026-01-08T00:00:00Z&started_before=2026-01-15T00:00:00Z";

/// Returns all queries.
fn queries() -> impl Iterator<Item = String> {
    let paired = PAIRED.iter().flat_map(|filter| {
        ["status=completed", "status=failed", "driver_id=7"].map(|other| format!("{other}&{filter}"))
    });
    let others = SINGLE.iter().chain(&PAIRS).chain(&ORDERED).map(|query| query.replace("RANGE", RANGE));
    others.chain(paired).chain(["reconciled=false".to_owned(), "reconciled=true".to_owned()])
}

/// Statistics, of all calls and of some.
const STATS: [&str; 7] = [
    "by=agent",
    "by=outcome",
    "by=channel",
    "by=agent&include=results",
    "by=agent&include=metrics",
    "answered_by=human",
    "RANGE",
];

/// Number of requests for each of the statistics.
const STATS_REQUESTS: usize = 10;

/// Measures statistics, one request at a time.
pub(crate) fn measure_stats(reader: &mut Reader) -> Result<Vec<Filtered>> {
    let mut measured = Vec::new();
    for query in STATS.map(|query| query.replace("RANGE", RANGE)) {
        let path = format!("/api/v1/stats?{query}");
        let took = (0..STATS_REQUESTS).map(|_| reader.get(&path)).collect::<Result<_>>()?;
        measured.push(Filtered { query, latency: Latency::from_durations(took) });
    }
    Ok(measured)
}

/// Measures the first page by each filter, one request at a time.
pub(crate) fn measure(reader: &mut Reader) -> Result<Vec<Filtered>> {
    let mut measured = Vec::new();
    for query in queries() {
        let path = format!("/api/v1/calls?{query}");
        for _ in 0..20 {
            reader.get(&path)?; // warms up
        }
        let took = (0..REQUESTS).map(|_| reader.get(&path)).collect::<Result<_>>()?;
        measured.push(Filtered { query, latency: Latency::from_durations(took) });
    }
    Ok(measured)
}

/// Sets the facts of all calls that have none, with realistic shares, as records of ElevenLabs would.
pub(crate) fn set_facts(filled: &Filled) -> Result<()> {
    let database = Connection::open_with_flags(&filled.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let done = "SELECT EXISTS (SELECT 1 FROM calls WHERE agent_id IS NOT NULL)";
    if database.query_row(done, [], |row| row.get(0))? {
        return Ok(());
    }
    // Nobody follows these changes.
    let trigger = "SELECT sql FROM sqlite_schema WHERE name = 'call_changed'";
    let trigger: String = database.query_row(trigger, [], |row| row.get(0))?;
    database
        .execute_batch(&format!("BEGIN; DROP TRIGGER call_changed; {FACTS} {trigger}; COMMIT;"))
        .context("setting facts of calls")
}

/// Sets facts from digits of a product with the id, which look random. `pick` numbers are 0 to 999.
const FACTS: &str = "
    INSERT INTO drivers (id, name, created_at, updated_at)
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    SELECT i, 'Driver ' || i, '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z' FROM n WHERE true
    ON CONFLICT DO NOTHING;

    CREATE TEMP TABLE picks AS
    SELECT id, (id * 2654435761 >> 9) % 1000 AS a, (id * 2246822519 >> 9) % 1000 AS b,
        (id * 3266489917 >> 9) % 1000 AS c, (id * 668265263 >> 9) % 1000 AS d, (id * 374761393 >> 9) % 1000 AS e
    FROM calls WHERE status <> 'in_progress';

    UPDATE calls SET
        status = iif(a BETWEEN 850 AND 974, 'failed', 'completed'),
        answered_by = CASE WHEN calls.id % 5003 = 0 THEN 'fax' WHEN a < 620 THEN 'human' WHEN a < 850 THEN 'voicemail'
            WHEN a < 930 THEN 'no_answer' WHEN a < 960 THEN 'busy' WHEN a < 975 THEN 'failed' WHEN a < 980 \
            THEN 'unknown'
            END,
        outcome = CASE WHEN a BETWEEN 850 AND 974 THEN NULL WHEN b < 550 THEN 'success' WHEN b < 780 THEN 'failure'
            WHEN b < 900 THEN 'unknown' END,
        direction = iif(c < 120, 'inbound', 'outbound'),
        channel = CASE WHEN d < 940 THEN 'phone' WHEN d < 970 THEN 'web' WHEN d < 990 THEN 'whatsapp' ELSE 'sms' END,
        agent_id = CASE WHEN calls.id < 20000 THEN 'agent_former' WHEN calls.id % 3001 = 0 THEN 'agent_rare'
            WHEN e < 700 THEN 'agent_day' WHEN e < 900 THEN 'agent_night' ELSE 'agent_weekend' END,
        main_language = CASE WHEN c * 7 % 1000 < 750 THEN 'en' WHEN c * 7 % 1000 < 900 THEN 'es'
            WHEN c * 7 % 1000 < 960 THEN 'fr' WHEN c * 7 % 1000 < 999 THEN 'pl' ELSE 'pa' END,
        environment = iif(d * 3 % 1000 < 950, 'production', 'staging'),
        driver_id = CASE WHEN b * 3 % 1000 < 10 THEN 7 WHEN e * 7 % 1000 < 700 THEN 1 + calls.id * 31 % 5000 END,
        external_number = printf('+1555%07d', (calls.id * 7919 % 20000) * 353),
        duration_seconds = CASE WHEN a BETWEEN 850 AND 974 THEN 0 WHEN calls.id % 20011 = 0 THEN 4000 WHEN d = 0 \
        THEN 900
            WHEN a BETWEEN 620 AND 849 THEN 10 + d % 30 ELSE 30 + d % 370 END,
        cost = iif(a < 850, 20 + (a * 31 + b * 17 + d) % 900, NULL),
        matched = iif(e * 13 % 1000 < 880, 20, NULL), live_only = 0, added = 0, corrected = 0, repeated = 0,
        has_audio = b * 11 % 1000 < 600,
        parent_conversation_id = iif(c * 11 % 1000 < 30, 'conv_parent', NULL),
        tags = CASE WHEN calls.id % 10007 = 0 THEN '[\"tag_rare\"]' WHEN d < 50 THEN '[\"tag_vip\"]'
            WHEN d < 300 THEN '[\"tag_night\"]' END
    FROM picks WHERE picks.id = calls.id;

    INSERT INTO tool_calls (conversation_id, position, after_place, name, purpose, is_error)
    SELECT conversation_id, 1, 0, 'end_call', 'end_call', 0 FROM calls JOIN picks USING (id) WHERE a < 850 AND c < 700
    UNION ALL SELECT conversation_id, 2, 0, 'lookup_load', 'tool', d % 30 = 0 FROM calls JOIN picks USING (id)
        WHERE a < 850 AND e < 400
    UNION ALL SELECT conversation_id, 3, 0, 'rare_tool', 'tool', 0 FROM calls WHERE id % 9973 = 0;

    INSERT INTO call_alerts (conversation_id, name, transcription_id, at)
    SELECT c.conversation_id, a.name, t.id, t.timestamp
    FROM (SELECT id, 'alert_fire' AS name FROM picks WHERE b % 50 = 0
        UNION ALL SELECT id, 'alert_rare' FROM picks WHERE id % 9973 = 0) a
    CROSS JOIN calls c ON c.id = a.id
    CROSS JOIN call_transcriptions t ON t.conversation_id = c.conversation_id AND t.sequence_number = 1;

    DROP TABLE picks;
";
