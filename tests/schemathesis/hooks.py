"""What a generator of requests cannot know of the service: values that only it makes, and drivers that must exist."""

import json
import os

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

TOKEN = {"Authorization": "Bearer " + os.environ["TOKEN"]}

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(str.strip)
entry = st.fixed_dictionaries({"role": st.sampled_from(["user", "agent"]), "message": words})
histories = st.lists(entry, max_size=5).map(lambda entries: json.dumps({"entries": entries}))
schemathesis.openapi.format("conversation-history", histories)
schemathesis.openapi.format("iana-time-zone", st.sampled_from(["UTC", "America/Chicago", "Europe/Berlin"]))
schemathesis.openapi.format("telephone-number", st.integers(1000, 10**14).map(str))
# A quotation holds a letter or a digit, and ends at the next quotation mark: there is no escape for one.
quoted = words.map(lambda text: text.replace('"', "")).filter(lambda text: any(map(str.isalnum, text)))
schemathesis.openapi.format("search-expression", quoted.map(lambda text: f'"{text}"'))


@schemathesis.hook
def before_call(context, case, kwargs):
    query = case.query or {}
    # A stream goes on until its client leaves.
    if case.operation.path.endswith("/events"):
        case.query = query = {**query, "follow": "false"}
    if case.meta is not None and case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    # A cursor is made by the service, and belongs to one query.
    query = {name: value for name, value in query.items() if name != "cursor"}
    # Subtitles are those of one call.
    if query.get("format") in ("srt", "vtt"):
        query.setdefault("conversation_id", "conv_1901kaj4pr1penza6bbkscg6hgkc")
    # Formats without turns, or with all of them, have no choice of kinds.
    if query.get("format", "jsonl") in ("jsonl", "calls-csv") and case.operation.path.endswith("/export"):
        query.pop("kind", None)
        if query.get("format") == "calls-csv":
            query.pop("include", None)
    if case.query:
        case.query = query
    # What another answer has as null is no driver's number.
    if not isinstance((case.path_parameters or {}).get("id", 1), int):
        case.path_parameters["id"] = 1
    if not isinstance(case.body, dict):
        return
    # An end must not be before the start, which only the service knows.
    if case.operation.method == "patch":
        case.body.pop("call_end_time", None)
    # Which entries can be read is not said by the schema.
    if case.operation.path.endswith("/history") and not isinstance(case.body.get("history"), str):
        case.body["history"] = {"entries": [{"role": "user", "message": "I am parked."}]}
    # A conversation has one dispatch.
    if isinstance(case.body.get("dispatches"), list):
        case.body["dispatches"] = list({each["conversation_id"].strip(): each for each in case.body["dispatches"]}.values())
    if "/dispatches" in case.operation.path:
        for dispatch in [case.body, *case.body.get("dispatches", [])]:
            if "driver_id" in dispatch:
                url = f"{case.operation.base_url.rstrip('/')}/api/v1/drivers/{dispatch['driver_id']}"
                requests.put(url, json={"name": "Somebody"}, headers=TOKEN, timeout=20)
