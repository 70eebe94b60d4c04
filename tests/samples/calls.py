"""Builds a sample call: its facts, its transcript, and the requests that report it.

A call depends on seed, time and index only, so threads can build calls in any order.
"""

import json
import math
import pathlib
import random
from datetime import datetime, timezone

import bodies

TEXTS = json.loads((pathlib.Path(__file__).parent / "dialogues.json").read_text(encoding="utf-8"))
TURNS = "/webhooks/elevenlabs/transcription"
HISTORY = "/webhooks/elevenlabs/history"
POST_CALL = "/webhooks/elevenlabs/post-call"
DISPATCHES = "/api/v1/dispatches"
AGENTS = {
    "dispatch": ("agent_5501k9czkv3qepy815bm59nt04qk", "Driver check-in"),
    "inbound": ("agent_2201k9czq0v8m4hx7pd3ws6t9ajr", "Dispatch hotline"),
    "breakdown": ("agent_7701k9czr5b2n6yk9fe1xt4v8cgm", "Breakdown desk"),
    "text": ("agent_3301k9czt7d4p8zm2ga5yv6x0ehq", "Load texts"),
    "shops": ("agent_9901k9czw9f6r0bn4hc7zx8y2jks", "Shop finder"),
}
DAY = 86_400

# Kinds of the first calls: sixty calls have each kind once. A `subagent_parent` has an even index. The call after it is
# the conversation with its sub-agent.
FIRST = (
    "plain live_fresh voicemail_result failure_busy inbound spanish arabic failure_no_answer voicemail_tool "
    "tools transfer_to_number web silence backchannel subagent_parent subagent_child keypad failure_unknown "
    "amd_before amd_after transfer_to_agent sms whatsapp text multivoice context interruption staging preview queue "
    "no_transcript disagreement two_languages guardrail tool_error one_turn long live_silent live_yesterday "
    "unknown_driver unknown_caller redacted russian polish batch result_busy result_no_answer result_failed amd_fax "
    "amd_unknown amd_human history recording broken_off late_dispatch driver_conflict repeats no_call_result "
    "test_run analysed_again"
).split()

# Weights of the kinds after the first calls.
LATER = {
    "plain": 26, "inbound": 12, "spanish": 9, "arabic": 4, "russian": 1, "polish": 1, "tools": 6, "tool_error": 2,
    "voicemail_result": 7, "voicemail_tool": 3, "amd_before": 1, "amd_after": 1, "amd_human": 1, "result_busy": 1,
    "result_no_answer": 2, "result_failed": 1, "failure_busy": 2, "failure_no_answer": 3, "failure_unknown": 1,
    "silence": 2, "backchannel": 2, "keypad": 2, "context": 1, "analysed_again": 1, "test_run": 1, "interruption": 3,
    "multivoice": 1, "transfer_to_number": 2, "transfer_to_agent": 1, "web": 2, "sms": 3, "whatsapp": 2, "text": 1,
    "staging": 1, "preview": 1, "queue": 2, "no_transcript": 1, "disagreement": 2, "two_languages": 1, "guardrail": 1,
    "one_turn": 2, "unknown_driver": 1, "unknown_caller": 2, "redacted": 1, "batch": 4, "history": 3, "broken_off": 1,
    "late_dispatch": 1, "driver_conflict": 1, "repeats": 1, "no_call_result": 1, "subagent_parent": 2,
}


def drivers():
    """Returns the forty drivers."""
    return [{"id": 1001 + n, "name": driver["name"], "phone_number": f"+13125550{101 + n}"}
            for n, driver in enumerate(TEXTS["drivers"])]


def kind_of(seed, index):
    """Returns the kind of the call at an index."""
    if index < len(FIRST):
        return FIRST[index]
    if index % 2 == 1 and kind_of(seed, index - 1) == "subagent_parent":
        return "subagent_child"
    kind = random.Random(f"{seed}/kind/{index}").choices(list(LATER), list(LATER.values()))[0]
    return "plain" if index % 2 == 1 and kind == "subagent_parent" else kind


def call_id(seed, index):
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    chosen = random.Random(f"{seed}/id/{index}")
    return "conv_" + "".join(chosen.choice(letters) for _ in range(28))


def iso(seconds):
    """Returns an instant as ISO 8601 text, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Call:
    """A call that is being built: its facts, its elements, and its requests in their order."""

    def __init__(self, seed, now, index):
        self.seed, self.now, self.index = seed, now, index
        self.kind = kind_of(seed, index)
        self.random = random.Random(f"{seed}/call/{index}")
        self.id = call_id(seed, index)
        self.sid = f"{self.random.getrandbits(128):032x}"
        self.requests = []
        # Elements of the transcript, each with the kind of its turn and the words of its live delivery, or None.
        self.elements = []
        self.seconds = 0
        self.calls_of_tools = 0
        self.errors_of_tools = 0
        # Facts of an ordinary outbound call.
        self.status, self.by_call_result = "completed", False
        self.answered_by, self.answered_by_source = "human", "call_result"
        self.channel, self.direction, self.provider = "phone", "outbound", "twilio"
        self.call_result = "answered"
        self.outcome = None
        self.environment = "production"
        self.language = "en"
        self.source = None
        self.text_only = False
        self.parent = None
        self.error = None
        self.termination_reason = None
        self.queue_wait = 0
        self.tags, self.batch_call = [], None
        self.sms = self.whatsapp = self.phone_call = self.analysis = None
        self.has_audio = False
        self.with_record = True
        self.record_transcript = True
        self.dispatch = "early"
        self.live_turns = None
        self.mailbox = False
        self.driver = None
        self.user_id = None
        self.variables = {}
        self.choose_agent("dispatch")
        self.visited_agents = [self.agent_id]
        self.duration = 0
        self.cost = 0
        self.start = self.some_start()

    # Choices.

    def some_start(self):
        """Returns a time in the last thirty days, mostly during the day in Chicago."""
        if self.random.random() < 0.05:
            return int(self.now - self.random.uniform(3_600, 12 * 3_600))
        midnight = self.now - self.now % DAY - self.random.randint(1, 29) * DAY
        hour = self.random.choice([11, 12, 13, 13, 14, 14, 15, 15, 16, 17, 18, 19, 20, 21, 22, 2, 5])
        return int(midnight + hour * 3_600 + self.random.uniform(0, 3_000))

    def choose_agent(self, name):
        self.agent_id, self.agent_name = AGENTS[name]

    def choose_driver(self, language="en"):
        """Chooses a driver who speaks a language."""
        able = [n for n, driver in enumerate(TEXTS["drivers"]) if driver["language"] == language]
        # Some drivers are called more than others.
        place = able[int(len(able) * self.random.random() ** 1.5)]
        self.language = language
        self.set_driver(place)

    def set_driver(self, place):
        driver = TEXTS["drivers"][place]
        self.driver = 1001 + place
        self.number = drivers()[place]["phone_number"]
        spoken = driver.get("spoken", driver["first"]) if self.language in ("ar", "ru") else driver["first"]
        self.slots = self.some_slots(spoken)

    def set_stranger(self):
        """Chooses a person whom the service does not know."""
        self.driver = None
        self.number = f"+17085550{self.random.randint(150, 199)}"
        self.slots = self.some_slots("driver")

    def some_slots(self, name):
        words = {slot: self.random.choice(texts) for slot, texts in TEXTS["slots"][self.language].items()}
        hour = self.random.randint(6, 15)
        appointment = hour + self.random.randint(1, 6)
        return {
            **words,
            "driver": name,
            "number": self.number,
            "load": str(self.random.randint(88_000, 89_999)),
            "trailer": str(self.random.randint(5_200, 5_399)),
            "temp": str(self.random.randint(41, 58)),
            "set": str(self.random.choice([-10, 28, 33, 34, 36, 38])),
            "dock": str(self.random.randint(1, 48)),
            "gate": str(self.random.randint(1_000, 9_999)),
            "minutes": str(self.random.choice([20, 30, 40, 45, 60, 90])),
            "eta": f"{hour}:{self.random.choice(['00', '15', '30', '45'])}",
            "time": f"{appointment}:{self.random.choice(['00', '30'])}",
            "late": f"{appointment}:{self.random.choice(['40', '45', '55'])}",
        }

    def choose_topic(self, inbound=False, name=None):
        topics = TEXTS["topics"][self.language]
        able = [key for key, topic in topics.items() if topic.get("inbound", False) == inbound]
        self.topic = name or self.random.choice(able)
        return topics[self.topic]

    def fill(self, text):
        return text.format(**self.slots)

    def pick(self, line):
        """Returns the speaker and the words of a line, or of one of its alternatives."""
        line = line if isinstance(line, str) else self.random.choice(line)
        return ("agent" if line.startswith("A: ") else "user"), self.fill(line[3:])

    # The transcript.

    def say(self, role, words, kind="speech", **more):
        """Adds an element with words. `heard` has the words of its live delivery, if they differ."""
        heard = more.pop("heard", words)
        live = more.pop("live", kind == "speech")
        made = bodies.element(role, words, self.seconds, **more)
        if role == "agent":
            made["agent_metadata"] = {"agent_id": self.visited_agents[-1], "branch_id": None,
                                      "workflow_node_id": None, "version_id": None}
        if kind == "speech":
            made["conversation_turn_metrics"] = bodies.metrics(self.random, role, self.index % 7 == 3)
        made["id"] = f"msg_{len(self.elements) + 1:03}"
        made["source_event_id"] = len(self.elements) + 1 if role == "user" else None
        self.elements.append((made, kind, heard if live else None))
        self.seconds += max(1, math.ceil(len(heard or "") / 15)) + self.random.choice([0, 1, 1, 2])

    def say_lines(self, lines):
        for line in lines:
            self.say(*self.pick(line))

    def call_tool(self, name=None, fails=False):
        """Adds a call of one of the fleet's tools."""
        name = name or self.random.choice(list(TEXTS["tools"]))
        tool = TEXTS["tools"][name]
        filled = [{key: self.fill(value) for key, value in tool[part].items()} for part in ("params", "result")]
        error = self.fill(self.random.choice(TEXTS["tool_errors"])) if fails else None
        latency = self.random.lognormvariate(-0.7, 0.7) if not fails else self.random.uniform(5, 20)
        self.add_tool(bodies.tool_element(self.seconds, name, tool["type"], self.request_id(name), *filled, latency,
                                          error))
        self.seconds += math.ceil(latency)

    def call_system_tool(self, name, params, result):
        self.add_tool(bodies.tool_element(self.seconds, name, "system", self.request_id(name), params, result, 0.05))

    def add_tool(self, made):
        self.calls_of_tools += 1
        self.errors_of_tools += made["tool_results"][0]["is_error"]
        self.elements.append((made, None, None))

    def request_id(self, name):
        return f"{name}_{self.random.getrandbits(32):08x}"

    def talk(self, topic, middle=None, tools=0, fails=False):
        """Adds the lines of a topic, with something in the middle."""
        lines = topic["lines"]
        # Never between a question and its answer.
        half = len(lines) // 4 * 2
        self.say_lines(lines[:half])
        for _ in range(tools):
            self.call_tool(fails=fails)
        if middle:
            middle()
        extras = TEXTS["extras"][self.language]
        for extra in self.random.sample(extras, min(len(extras), self.random.choice([0, 0, 1, 1, 2, 4]))):
            self.say_lines(extra)
        self.say_lines(lines[half:])
        self.title, self.summary = topic["title"], self.fill(topic["summary"])

    def hang_up(self, by_agent):
        if by_agent:
            result = {"result_type": "end_call_success", "status": "success", "reason": "The driver said goodbye.",
                      "message": None}
            self.call_system_tool("end_call", {"reason": "The driver said goodbye."}, result)
        self.termination_reason = "end_call tool was called." if by_agent else "Call ended by remote party"

    # The requests.

    def finish(self):
        """Completes the facts and adds the requests."""
        self.duration = self.duration or self.seconds
        self.cost = self.cost or self.duration * 6 + 14
        if self.channel == "phone" and self.with_record:
            self.phone_call = bodies.phone_call(self.provider, self.direction, self.number, self.call_result, self.sid)
            self.source = self.source or {"sip_trunking": "sip_trunk"}.get(self.provider, self.provider)
        if self.driver and not self.user_id and self.direction == "outbound":
            self.user_id = f"driver_{self.driver}"
        if self.driver and not self.variables:
            self.variables = {"driver_id": str(self.driver), "load_id": self.slots["load"]}
        if self.with_record and self.analysis is None:
            self.analyse()
        if self.driver and self.dispatch and self.direction == "outbound" and self.channel == "phone":
            self.put_dispatch()

    def put_dispatch(self):
        made = {"driver_id": self.driver, "phone_number": self.number, "dispatched_at": iso(self.start - 20)}
        if self.batch_call:
            made["batch_id"] = self.batch_call["batch_call_id"]
            request = ("POST", DISPATCHES, {"dispatches": [{"conversation_id": self.id, **made}]})
        else:
            request = ("PUT", f"{DISPATCHES}/{self.id}", made)
        if self.dispatch == "early":
            self.requests.insert(0, request)
        else:
            self.requests.append(request)

    def analyse(self):
        """Sets ElevenLabs' analysis of the call, with collected data of each type."""
        reached = self.answered_by == "human"
        self.outcome = self.outcome or (
            self.random.choices(["success", "failure", "unknown"], [8, 2, 1])[0] if reached else "failure")
        criteria = {
            "reached_driver": {"result": "success" if reached else "failure", "rationale": "By what was said."},
            "load_confirmed": {"result": self.outcome, "rationale": "By the last answer of the driver."},
        }
        if self.index % 3 == 0:
            criteria["politeness"] = {"result": "success", "rationale": "The agent was polite.",
                                      "scoring_mode": "numeric_uniform", "score": 4, "max_score": 5}
        collected = {}
        if reached:
            mood = self.random.choice(["calm", "annoyed", "in a hurry"])
            collected = {
                "temperature_ok": self.collected("boolean", self.random.random() < 0.6),
                "reefer_set_point_f": self.collected("number", float(self.slots["set"])),
                "hours_left": self.collected("integer", self.random.randint(1, 11)),
                "next_stop": self.collected("string", self.slots["city"]),
                "mood": self.collected("string", mood, enum=["calm", "annoyed", "in a hurry"]),
                "callback_wanted": self.collected("boolean", None),
            }
        criteria = {key: {"criteria_id": key, **value} for key, value in criteria.items()}
        collected = {key: {"data_collection_id": key, "name": key, **value} for key, value in collected.items()}
        self.analysis = {
            "evaluation_criteria_results": criteria,
            "data_collection_results": collected,
            "evaluation_criteria_results_list": list(criteria.values()),
            "data_collection_results_list": list(collected.values()),
            "call_successful": self.outcome,
            "transcript_summary": self.summary,
            "call_summary_title": self.title,
        }

    def collected(self, kind, value, **schema):
        rationale = "The driver did not say." if value is None else "The driver said so."
        return {"value": value, "json_schema": {"type": kind, "description": "From the call", **schema},
                "rationale": rationale}

    def talk_start(self):
        return self.start + self.queue_wait

    def turn(self, role, words, seconds, envelope=False, key=None):
        """Returns the request that delivers a turn live."""
        made = {"speaker": role, "message": words, "timestamp": iso(self.talk_start() + seconds + 0.25)}
        if envelope:
            # Language models write this id, and often repeat it.
            return "POST", TURNS, {"tool_call_id": "call_0", "tool_name": "log_turn", "conversation_id": self.id,
                                   "parameters": made}
        return "POST", TURNS, {"conversation_id": self.id, **made}, {"Idempotency-Key": key} if key else {}

    def deliver_live(self):
        """Adds the live deliveries of all spoken turns, as a turn tool makes them."""
        for place, (made, _, heard) in enumerate(self.elements):
            if heard is not None:
                self.requests.append(self.turn(made["role"], heard, made["time_in_call_secs"],
                                               envelope=self.index % 5 == 4 and place % 2 == 0))

    def deliver_history(self, until=None):
        """Adds a request with the conversation so far, as a history tool sends it."""
        entries = [{"role": made["role"], "message": heard} for made, _, heard in self.elements[:until]
                   if heard is not None]
        history = json.dumps({"x-elevenlabs-history": True, "entries": entries}, ensure_ascii=False)
        last = self.elements[:until][-1][0]["time_in_call_secs"]
        body = {"conversation_id": self.id, "timestamp": iso(self.talk_start() + last), "history": history,
                "agent_id": self.agent_id}
        if self.driver:
            body["driver_id"] = str(self.driver)
        self.requests.append(("POST", HISTORY, body))

    def deliver_event(self, kind, data, after=40):
        at = self.start + self.queue_wait + self.duration + after
        self.requests.append(("POST", POST_CALL, bodies.event(kind, at, data)))

    def record(self):
        transcript = []
        for place, (made, kind, _) in enumerate(self.elements):
            made = dict(made)
            # Older records have whole seconds only.
            if kind and self.index % 4 != 1:
                made["created_at_unix_ms"] = (self.talk_start() + made["time_in_call_secs"]) * 1000 + place % 10 * 7
            transcript.append(made)
        counted = [made["role"] for made, kind, _ in self.elements if kind]
        if not self.record_transcript:
            transcript = []
        return bodies.record(self, transcript, (counted.count("user"), counted.count("agent")))

    def deliver_record(self, kind="post_call_transcription", after=40):
        data = self.record()
        if not self.record_transcript:
            del data["transcript"]
        self.deliver_event(kind, data, after)

    def truth(self):
        """Returns the call's facts, as a correct service states them."""
        turns, speakers = {}, {"agent": 0, "driver": 0, "mailbox": 0}
        told = self.elements if self.live_turns is None else self.elements[:self.live_turns]
        for made, kind, _ in told:
            if kind:
                turns[kind] = turns.get(kind, 0) + 1
                if kind not in ("speech", "text"):
                    continue
                driver = "mailbox" if self.mailbox else "driver"
                speakers["agent" if made["role"] == "agent" else driver] += 1
        known = self.with_record
        return {
            "conversation_id": self.id,
            "kind": self.kind,
            "status": self.status,
            "status_by_call_result": self.by_call_result,
            "answered_by": self.answered_by,
            "answered_by_source": self.answered_by_source,
            "channel": self.channel,
            "direction": self.direction,
            "outcome": self.outcome if known else None,
            "driver_id": self.driver,
            "start": iso(self.start),
            "duration_seconds": self.duration if known else None,
            "queue_wait_seconds": self.queue_wait or None,
            "environment": self.environment if known else None,
            "parent_conversation_id": self.parent,
            "language": self.language if known else None,
            # Live turns do not name their agent.
            "agent_id": self.agent_id if self.status != "in_progress" else None,
            "batch_id": self.batch_call["batch_call_id"] if self.batch_call else None,
            "tags": self.tags,
            "cost": self.cost if known else None,
            "has_recording": any(request[2].get("type") == "post_call_audio" for request in self.requests),
            "record": "none" if not known else "full" if self.record_transcript else "no_transcript",
            "turns": turns,
            "speakers": speakers,
            "tool_calls": self.calls_of_tools if known and self.record_transcript else 0,
            "tool_errors": self.errors_of_tools if known and self.record_transcript else 0,
        }
