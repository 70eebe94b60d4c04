"""The kinds of sample calls: participants, words, and the events that report them."""

import bodies
from calls import AGENTS, DAY, TEXTS, Call, call_id


def make(seed, now, index):
    """Returns the complete call at an index."""
    call = Call(seed, now, index)
    KINDS[call.kind](call)
    return call


def outbound(call, language="en", **talk):
    """Builds an outbound call that a driver answers."""
    call.choose_driver(language)
    call.talk(call.choose_topic(), **talk)
    call.hang_up(by_agent=call.random.random() < 0.6)


def deliver(call):
    """Reports a call by live turns, by histories, or by the record alone, as fleets set it up."""
    call.finish()
    way = call.random.random()
    if way < 0.3:
        call.deliver_live()
    elif way < 0.4:
        call.deliver_history(until=max(1, len(call.elements) // 2))
        call.deliver_history()
    call.deliver_record()
    if call.random.random() < 0.02:
        send_recording(call)


def told(call, language="en", **talk):
    call.provider = call.random.choice(["twilio", "twilio", "twilio", "sip_trunking", "exotel"])
    outbound(call, language, **talk)
    deliver(call)


def send_recording(call):
    call.has_audio = True
    data = {"agent_id": call.agent_id, "conversation_id": call.id, "full_audio": bodies.recording(call.duration)}
    call.deliver_event("post_call_audio", data, after=55)


def inbound(call):
    call.choose_agent("inbound")
    call.visited_agents = [call.agent_id]
    call.direction = "inbound"
    call.choose_driver(call.random.choices(["en", "es", "ar"], [6, 2, 1])[0])
    call.talk(call.choose_topic(inbound=True))
    # Only the phone number identifies the driver.
    call.variables = {"caller": "unknown"}
    call.hang_up(by_agent=False)
    deliver(call)


def unknown_driver(call):
    call.set_stranger()
    call.talk(call.choose_topic())
    call.hang_up(by_agent=False)
    deliver(call)


def unknown_caller(call):
    call.choose_agent("inbound")
    call.visited_agents = [call.agent_id]
    call.direction = "inbound"
    call.set_stranger()
    call.talk(call.choose_topic(inbound=True))
    call.hang_up(by_agent=False)
    deliver(call)


# Mailboxes, machines and calls that nobody answers.

def mailbox(call, result, source):
    """Builds a call that a voicemail answers. The record has its greeting as words of the user."""
    call.choose_driver(call.random.choice(["en", "en", "es"]))
    call.call_result, call.answered_by, call.answered_by_source = result, "voicemail", source
    call.mailbox = True
    texts = TEXTS["voicemail"]
    call.say("agent", call.fill(texts["opening"]))
    call.say("user", call.random.choice(texts["greetings"]))
    if source == "tool":
        message = call.fill(call.random.choice(texts["messages"]))
        call.call_system_tool("voicemail_detection", {"reason": "A recorded greeting asks for a message."},
                              {"result_type": "voicemail_detection_success", "status": "success",
                               "voicemail_message": message, "reason": "A recorded greeting asks for a message."})
        call.termination_reason = "voicemail_detection tool was called."
    else:
        message = call.fill(call.random.choice(texts["messages"]))
        call.termination_reason = "Call ended by remote party"
    call.say("agent", message)
    call.title, call.summary = "Voicemail", "A mailbox answered; a message was left."
    call.finish()


def voicemail_result(call):
    mailbox(call, "voicemail", "call_result")
    deliver(call)


def voicemail_tool(call):
    mailbox(call, None, "tool")
    deliver(call)


def detect(call, verdict, nested=False, after=2):
    call.deliver_event("answering_machine_detection", bodies.answering_machine(call, verdict, nested),
                       after=after - call.duration)


def amd_before(call):
    """Sends the detection before the call is known."""
    mailbox(call, None, "amd")
    detect(call, "machine_end_beep")
    call.deliver_record()


def amd_after(call):
    """Sends the detection after the call's record."""
    mailbox(call, None, "amd")
    call.deliver_record()
    detect(call, "machine_end_silence", nested=True, after=call.duration + 90)


def amd_fax(call):
    call.choose_driver()
    call.call_result, call.answered_by, call.answered_by_source = None, "fax", "amd"
    nobody_speaks(call)
    call.finish()
    detect(call, "fax", nested=True)
    call.deliver_record()


def amd_unknown(call):
    call.choose_driver()
    call.call_result, call.answered_by, call.answered_by_source = None, "unknown", "amd"
    nobody_speaks(call)
    call.finish()
    call.deliver_record()
    detect(call, "unknown", after=call.duration + 70)


def amd_human(call):
    outbound(call)
    call.finish()
    detect(call, "human")
    call.deliver_record()


def nobody_speaks(call):
    call.say("agent", call.fill(TEXTS["voicemail"]["opening"]))
    call.termination_reason = "Call ended by remote party"
    call.title, call.summary = "No conversation", "Nobody spoke."


def not_reached(result):
    """Returns a builder of calls whose record says that nobody answered."""
    def build(call):
        call.choose_driver()
        call.status, call.by_call_result = "failed", True
        call.call_result, call.answered_by = result, result
        call.termination_reason = ""
        call.outcome = "unknown"
        call.title, call.summary = "Not reached", "The call was not answered."
        call.seconds = 1
        call.finish()
        call.deliver_record()
    return build


def not_established(reason):
    """Returns a builder of calls with an initiation failure and no record, of each provider in turn."""
    def build(call):
        call.choose_driver()
        call.provider = provider = ["twilio", "sip_trunking", "exotel"][call.index % 3]
        call.status = "failed"
        call.answered_by = {"busy": "busy", "no-answer": "no_answer", "unknown": "failed"}[reason]
        call.answered_by_source = "initiation_failure"
        call.with_record = False
        # Without a dispatch, only the phone number identifies the driver.
        call.dispatch = call.random.choice(["early", None])
        call.finish()
        call.deliver_event("call_initiation_failure", bodies.initiation_failure(call, provider, reason), after=25)
    return build


# Events within a call.

def within(happening):
    """Returns a builder of outbound calls in which something happens in the middle."""
    def build(call):
        told(call, middle=lambda: happening(call))
    return build


def silence(call):
    """Builds a call in which the driver says nothing. Records show silence in two ways."""
    call.choose_driver()
    # Picked up, but nobody knows by whom.
    call.answered_by = "unknown"
    texts = TEXTS["silence"]
    call.say("agent", call.fill(texts["opening"]))
    for again in texts["again"]:
        call.say("user", "...", kind="silence", platform_event="user_turn_timeout", source_medium=None)
        call.say("agent", call.fill(again))
    # A timeout without words is not a turn.
    call.elements.append((bodies.element("user", None, call.seconds, platform_event="skip_turn_wait_elapsed",
                                         source_medium=None), None, None))
    call.say("agent", texts["closing"])
    call.hang_up(by_agent=True)
    call.title, call.summary = "Silence", "The driver was not heard."
    deliver(call)


def backchannel(call):
    for _ in range(3):
        call.say("user", call.random.choice(TEXTS["backchannels"][call.language]), kind="backchannel",
                 ignored_as_backchannel=True)
        call.say("agent", call.fill("I'm looking at load {load} while we talk."))


def keypad(call):
    call.say("agent", "If that is right, press one. Otherwise press two.")
    call.say("user", call.random.choice("12"), kind="keypad", source_medium="dtmf")
    call.say("agent", call.fill("Please enter the last four digits of the trailer, then the pound key."))
    call.say("user", call.slots["trailer"] + "#", kind="keypad", source_medium="dtmf")


def context(call):
    for place, text in enumerate(TEXTS["contexts"]):
        call.say("user", call.fill(text), kind="context", source_medium="text",
                 contextual_update_info={"context_id": f"position_{place}", "is_superseded": place == 0})


def interruption(call):
    whole = call.fill("Before you go, check the set point, the fuel, and that the doors are sealed at dock {dock}.")
    call.say("agent", whole[:41].rstrip() + "...", heard=whole, interrupted=True, original_message=whole)
    call.say("user", "Yeah, yeah, I already did all of that.")


def multivoice(call):
    texts = TEXTS["multivoice"]
    parts = [{"text": call.fill(texts[name]), "voice_label": voice, "time_in_call_secs": call.seconds + second}
             for name, voice, second in (("intro", "dispatch", 0), ("notice", "notice", 3), ("outro", "dispatch", 7))]
    call.say("agent", None, heard=" ".join(part["text"] for part in parts), live=True,
             multivoice_message={"parts": parts})
    call.say("user", "Yes, understood.")


def guardrail(call):
    call.say("agent", "I'm sorry, I can't promise that. A dispatcher will call you about it.",
             triggered_guardrails=[bodies.guardrail("custom")])
    call.say("user", "You people never can.", triggered_guardrails=[])
    call.say("agent", "I understand that this is frustrating.", triggered_guardrails=[bodies.guardrail("profanity")])


def tools(call):
    told(call, tools=call.random.randint(1, 3))


def tool_error(call):
    told(call, tools=2, fails=True)


def transfer_to_number(call):
    call.choose_driver()
    call.provider = call.random.choice(["twilio", "sip_trunking"])
    call.talk(call.choose_topic())
    texts = TEXTS["transfer"]
    call.say(*call.pick(texts["asks"]))
    call.say(*call.pick(texts["to_number"]))
    result = {"result_type": "transfer_to_number_twilio_success", "status": "success",
              "transfer_number": "+13125550191", "reason": "The driver asked for a person.", "client_message": None,
              "agent_message": "A driver is on the line.", "conference_name": f"transfer_{call.sid[:8]}",
              "post_dial_digits": None, "note": None}
    if call.provider == "sip_trunking":
        result = {"result_type": "transfer_to_number_sip_success", "status": "success",
                  "transfer_number": "+13125550191", "reason": "The driver asked for a person.", "note": None}
    call.call_system_tool("transfer_to_number", {"transfer_number": "+13125550191"}, result)
    call.termination_reason = "Call transferred"
    deliver(call)


def transfer_to_agent(call):
    call.choose_driver()
    texts = TEXTS["transfer"]
    call.talk(call.choose_topic(name="breakdown"))
    call.say(*call.pick(texts["asks"][1]))
    call.say(*call.pick(texts["to_agent"]))
    desk = AGENTS["breakdown"][0]
    result = {"result_type": "transfer_to_agent_success", "status": "success", "from_agent": call.agent_id,
              "to_agent": desk, "to_node": None, "condition": "The driver asks for the shop.", "delay_ms": 0,
              "transfer_message": None, "enable_transferred_agent_first_message": True}
    call.call_system_tool("transfer_to_agent", {"agent_number": 0}, result)
    call.visited_agents.append(desk)
    call.say(*call.pick(texts["after"]))
    call.say(*call.pick(texts["after_reply"]))
    call.hang_up(by_agent=True)
    deliver(call)


def two_languages(call):
    """Builds a call that begins in English and continues in Spanish."""
    call.choose_driver("es")
    call.language = "en"
    call.set_driver(call.driver - 1001)
    call.say_lines(call.choose_topic(name="reefer_alert")["lines"][:1])
    call.language = "es"
    texts = TEXTS["switch"]
    call.say(*call.pick(texts["ask"]))
    call.call_system_tool("language_detection", {"language": "es"},
                          {"result_type": "language_detection_success", "status": "success", "language": "es",
                           "reason": "The driver speaks Spanish."})
    call.say(*call.pick(texts["answer"]))
    call.say_lines(texts["lines"])
    call.title, call.summary = "Temperature, in Spanish", "The driver switched the trailer to continuous."
    call.hang_up(by_agent=True)
    deliver(call)


def one_turn(call):
    call.choose_driver()
    call.answered_by = "unknown"
    nobody_speaks(call)
    deliver(call)


def long(call):
    """Builds a call of 400 turns: the agent waits on the line until a trailer is cold."""
    call.choose_driver()
    call.start = int(call.now - call.now % DAY - 2 * DAY + 14 * 3_600)
    call.choose_topic(name="reefer_alert")
    topic = TEXTS["topics"]["en"]["reefer_alert"]
    call.say_lines(topic["lines"])
    temperature = 58
    while len(call.elements) < 400:
        if len(call.elements) % 40 == 0:
            temperature -= 2
        call.slots["temp"] = str(temperature)
        call.say_lines(call.random.choice(TEXTS["readings"] * 2 + TEXTS["extras"]["en"]))
        call.seconds += 4
    del call.elements[400:]
    call.title, call.summary = topic["title"], call.fill(topic["summary"])
    call.hang_up(by_agent=True)
    call.finish()
    call.deliver_live()
    call.deliver_record()


def broken_off(call):
    """Builds a call that an error of ElevenLabs ends."""
    call.status, call.outcome = "failed", "unknown"
    call.choose_driver()
    call.talk(call.choose_topic())
    del call.elements[5:]
    call.seconds = call.elements[-1][0]["time_in_call_secs"] + 4
    call.error = {"code": 1011, "reason": "The language model did not answer."}
    call.termination_reason = ""
    call.finish()
    call.deliver_record()


# Channels.

def texting(call, channel):
    call.channel = channel
    call.choose_agent("text")
    call.visited_agents = [call.agent_id]
    call.answered_by = call.answered_by_source = call.dispatch = None
    call.text_only = channel != "web"
    call.choose_driver(call.random.choice(["en", "en", "es", "ar"]) if channel in ("sms", "whatsapp") else "en")
    lines = TEXTS["text"][call.language] if channel in ("sms", "whatsapp") else TEXTS["web"]
    for line in lines:
        role, words = call.pick(line)
        if call.text_only and role == "user":
            call.say(role, words, kind="text", source_medium="text")
        else:
            call.say(role, words)
        # People answer when they read it.
        call.seconds += call.random.randint(30, 900) if channel in ("sms", "whatsapp") else 0
    call.title, call.summary = "Messages", "The driver's question was answered."
    call.outcome = "success"
    call.termination_reason = "Client disconnected: 1000"
    call.phone_call = None


def sms(call):
    texting(call, "sms")
    call.direction = "outbound"
    call.source = "twilio_sms"
    call.sms = {"direction": "outbound", "phone_number_id": bodies.PHONE_NUMBER_ID,
                "sms_user_phone_number": call.number, "agent_phone_number": bodies.AGENT_NUMBER}
    call.variables = {"load_id": call.slots["load"]}
    call.user_id = call.number
    call.finish()
    call.deliver_record()


def whatsapp(call):
    texting(call, "whatsapp")
    call.direction = "inbound"
    call.source = "whatsapp"
    call.whatsapp = {"direction": "inbound", "whatsapp_phone_number_id": "wa_1042",
                     "whatsapp_user_id": call.number.lstrip("+")}
    call.variables = {"load_id": call.slots["load"]}
    call.finish()
    call.deliver_record()


def web(call):
    """Builds a spoken conversation in a browser."""
    texting(call, "web")
    call.direction = None
    call.source = call.random.choice(["widget", "react_sdk", "js_sdk"])
    call.user_id = f"driver_{call.driver}"
    call.finish()
    call.deliver_record()


def text(call):
    texting(call, "text")
    call.direction = None
    call.source = "widget"
    call.user_id = f"driver_{call.driver}"
    call.finish()
    call.deliver_record()


def subagent_parent(call):
    told(call, tools=1)


def subagent_child(call):
    """Builds the conversation with a sub-agent during the call at the index before."""
    parent = make(call.seed, call.now, call.index - 1)
    call.parent = call_id(call.seed, call.index - 1)
    call.start = parent.start + 30
    call.choose_agent("shops")
    call.visited_agents = [call.agent_id]
    call.set_stranger()
    call.answered_by = call.answered_by_source = call.direction = call.dispatch = None
    call.channel, call.source, call.text_only = "text", "subagent_tool", True
    call.number = None
    # The asking agent has the role of the user.
    for line in TEXTS["subagent"]:
        role, words = call.pick(line)
        role = {"agent": "user", "user": "agent"}[role]
        if role == "user":
            call.say(role, words, kind="text", source_medium="text")
        else:
            call.say(role, words)
    call.duration = 6
    call.outcome = "success"
    call.title, call.summary = "Nearest shop", "Two shops were found."
    call.finish()
    call.deliver_record()


# Environments and settings.

def staging(call):
    call.environment = "staging"
    told(call)


def preview(call):
    """Builds a trial in ElevenLabs' editor."""
    call.environment = "preview"
    call.source = "template_preview"
    call.channel, call.direction = "web", None
    call.answered_by = call.answered_by_source = call.dispatch = None
    call.set_stranger()
    call.number = None
    call.talk(call.choose_topic())
    call.outcome = "unknown"
    call.finish()
    call.deliver_record()


def test_run(call):
    """Builds a conversation of the fleet's own tests with the agent."""
    call.environment = "test"
    call.source = "python_sdk"
    call.channel, call.direction, call.text_only = "text", None, True
    call.answered_by = call.answered_by_source = call.dispatch = None
    call.set_stranger()
    call.number = None
    for line in TEXTS["web"]:
        role, words = call.pick(line)
        if role == "user":
            call.say(role, words, kind="text", source_medium="text")
        else:
            call.say(role, words)
    call.outcome, call.title, call.summary = "success", "Test", "The tests asked about a document."
    call.finish()
    call.deliver_record()


def analysed_again(call):
    """Builds a call whose analysis is run again, which sends a second record."""
    outbound(call)
    call.outcome = "failure"
    call.finish()
    call.deliver_record()
    call.outcome = "success"
    call.analyse()
    call.deliver_record(after=3_600)


def queue(call):
    call.queue_wait = call.random.randint(8, 180)
    call.start -= call.start % 3_600 - 60
    told(call)


def batch(call):
    call.choose_driver()
    number = call.start // DAY % 30
    campaign = {"campaign_id": f"campaign_{number % 3}", "campaign_lead_id": f"lead_{call.index}", "cold_attempt": 1}
    call.batch_call = {"batch_call_id": f"btcal_{number:02}k9reefer",
                       "batch_call_recipient_id": f"driver_{call.driver}", "campaign": campaign}
    call.tags = [["tag_reefer"], ["tag_reefer", "tag_night"], []][call.index % 3]
    call.talk(call.choose_topic(name="reefer_alert"))
    call.hang_up(by_agent=True)
    deliver(call)


def no_transcript(call):
    """Builds a call whose record has no transcript, so only live turns have its words."""
    outbound(call)
    call.record_transcript = False
    call.finish()
    call.deliver_live()
    call.deliver_record()


def no_call_result(call):
    """Builds a call with an old record, which does not say who answered."""
    call.call_result = None
    call.answered_by = call.answered_by_source = None
    told(call)


def history(call):
    outbound(call)
    call.finish()
    for part in (2, len(call.elements) // 2, None):
        call.deliver_history(until=part)
    call.deliver_record()


def recording(call):
    outbound(call)
    call.has_audio = True
    call.finish()
    call.deliver_record()
    send_recording(call)


# Deliveries.

def disagreement(call):
    """Delivers turns as a language model may: one reworded, one missing, one invented, one repeated."""
    outbound(call)
    call.finish()
    said = [(made["role"], heard, made["time_in_call_secs"]) for made, _, heard in call.elements if heard]
    for place, (role, words, seconds) in enumerate(said):
        if place == 1:
            words = words.replace(",", "").lower()
        if place == 2:
            continue
        call.requests.append(call.turn(role, words, seconds))
        if place == 3:
            call.requests.append(call.turn("agent", "Let me write that down for the shipping office.", seconds + 1))
        if place == 4:
            # The same words with a later time.
            call.requests.append(call.turn(role, words, seconds + 2))
    call.deliver_record()


def repeats(call):
    """Sends every delivery twice, and the record too."""
    outbound(call)
    call.finish()
    for place, (made, _, heard) in enumerate(call.elements):
        if heard is not None:
            key = f"{call.id}-{place}" if place % 2 else None
            call.requests += [call.turn(made["role"], heard, made["time_in_call_secs"], key=key)] * 2
    call.deliver_record()
    call.requests.append(call.requests[-1])


def late_dispatch(call):
    """Stores the dispatch last. Nothing else identifies the driver."""
    outbound(call)
    call.dispatch = None
    call.variables = {"load_id": call.slots["load"]}
    call.user_id = "fleet-portal"
    known, call.number = call.number, "+17085550149"
    call.finish()
    call.number = known
    call.deliver_record()
    call.dispatch = "late"
    call.put_dispatch()


def driver_conflict(call):
    """Sends a record that names another driver than the dispatch, which is right."""
    outbound(call)
    other = 1001 + (call.driver - 1001 + 1) % len(TEXTS["drivers"])
    call.variables = {"driver_id": str(other), "load_id": call.slots["load"]}
    call.user_id = f"driver_{call.driver}"
    call.finish()
    call.deliver_record()


def redacted(call):
    """Sends a redacted record, then an unredacted copy, which must change nothing."""
    call.choose_driver()
    texts = TEXTS["redacted"]
    call.say("agent", call.fill("Hello, this is dispatch about load {load}. Who am I speaking with?"))
    marked = len(call.elements)
    call.say_lines(texts["marked"])
    call.hang_up(by_agent=True)
    call.title, call.summary = "Arrival", "The driver [NAME] is at the gate."
    call.finish()
    call.deliver_record()
    plain = call.record()
    for made, line in zip(plain["transcript"][marked:], texts["plain"]):
        made["message"] = call.pick(line)[1]
    call.deliver_event("unredacted_transcript", plain, after=50)


# Running calls.

def live(call, began, last):
    """Builds a running call with turns from `began` to `last` seconds ago."""
    call.choose_driver()
    call.status, call.with_record = "in_progress", False
    call.answered_by = call.answered_by_source = None
    call.channel = call.direction = None
    call.talk(call.choose_topic(name="check_call"))
    del call.elements[7:]
    first = call.elements[0][0]["time_in_call_secs"]
    end = call.elements[-1][0]["time_in_call_secs"]
    call.start = int(call.now - began)
    stretch = (began - last) / max(1, end - first)
    for made, _, _ in call.elements:
        made["time_in_call_secs"] = made["time_in_call_secs"] * stretch
    call.finish()
    call.put_dispatch()
    call.deliver_live()


def live_fresh(call):
    live(call, 50, 3)


def live_silent(call):
    live(call, 15 * 60, 12 * 60)


def live_yesterday(call):
    live(call, DAY + 600, 40 * 60)


KINDS = {
    "plain": told,
    "spanish": lambda call: told(call, "es"),
    "arabic": lambda call: told(call, "ar"),
    "russian": lambda call: told(call, "ru"),
    "polish": lambda call: told(call, "pl"),
    "inbound": inbound,
    "unknown_driver": unknown_driver,
    "unknown_caller": unknown_caller,
    "voicemail_result": voicemail_result,
    "voicemail_tool": voicemail_tool,
    "amd_before": amd_before,
    "amd_after": amd_after,
    "amd_fax": amd_fax,
    "amd_unknown": amd_unknown,
    "amd_human": amd_human,
    "result_busy": not_reached("busy"),
    "result_no_answer": not_reached("no_answer"),
    "result_failed": not_reached("failed"),
    "failure_busy": not_established("busy"),
    "failure_no_answer": not_established("no-answer"),
    "failure_unknown": not_established("unknown"),
    "silence": silence,
    "backchannel": within(backchannel),
    "keypad": within(keypad),
    "context": within(context),
    "interruption": within(interruption),
    "multivoice": within(multivoice),
    "guardrail": within(guardrail),
    "tools": tools,
    "tool_error": tool_error,
    "transfer_to_number": transfer_to_number,
    "transfer_to_agent": transfer_to_agent,
    "two_languages": two_languages,
    "one_turn": one_turn,
    "long": long,
    "broken_off": broken_off,
    "sms": sms,
    "whatsapp": whatsapp,
    "web": web,
    "text": text,
    "subagent_parent": subagent_parent,
    "subagent_child": subagent_child,
    "staging": staging,
    "preview": preview,
    "test_run": test_run,
    "queue": queue,
    "batch": batch,
    "no_transcript": no_transcript,
    "no_call_result": no_call_result,
    "history": history,
    "recording": recording,
    "analysed_again": analysed_again,
    "disagreement": disagreement,
    "repeats": repeats,
    "late_dispatch": late_dispatch,
    "driver_conflict": driver_conflict,
    "redacted": redacted,
    "live_fresh": live_fresh,
    "live_silent": live_silent,
    "live_yesterday": live_yesterday,
}
