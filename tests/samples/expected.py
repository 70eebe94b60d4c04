"""Sums the facts of the sample calls, without the service."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta

FIELDS = ("status", "answered_by", "channel", "direction", "outcome", "environment", "language", "agent_id")


def count(calls):
    by = {field: dict(sorted(Counter(str(call[field]) for call in calls).items())) for field in FIELDS}
    return {"calls": len(calls), "by": by}


def week(start):
    """Returns the Monday of an instant's week, in UTC."""
    day = datetime.fromisoformat(start.replace("Z", "+00:00")).date()
    return (day - timedelta(days=day.weekday())).isoformat()


def driver_weeks(calls, names):
    """Returns number and length of answered calls by driver and week."""
    lengths = defaultdict(list)
    for call in calls:
        if call["answered_by"] == "human" and call["driver_id"] and call["duration_seconds"] is not None:
            lengths[call["driver_id"], week(call["start"])].append(call["duration_seconds"])
    return [
        {"driver_id": driver, "name": names[driver], "week": monday, "calls": len(seconds), "seconds": sum(seconds),
         "mean_seconds": round(sum(seconds) / len(seconds), 3)}
        for (driver, monday), seconds in sorted(lengths.items())
    ]


def expected(calls, drivers):
    """Returns the content of the file: each call, and the sums over lists and over statistics."""
    listed = [call for call in calls if not call["parent_conversation_id"]]
    counted = [call for call in listed if call["environment"] in (None, "production")]
    turns, speakers = Counter(), Counter()
    for call in listed:
        turns.update(call["turns"])
        speakers.update(call["speakers"])
    return {
        "drivers": len(drivers),
        "lists": count(listed),
        "statistics": count(counted),
        "driver_weeks": driver_weeks(counted, {driver["id"]: driver["name"] for driver in drivers}),
        "turns": {"kind": dict(sorted(turns.items())), "speaker": dict(sorted(speakers.items()))},
        "tool_calls": sum(call["tool_calls"] for call in listed),
        "tool_errors": sum(call["tool_errors"] for call in listed),
        "recordings": sum(call["has_recording"] for call in listed),
        "calls": calls,
    }
