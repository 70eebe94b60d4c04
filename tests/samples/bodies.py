"""Bodies of ElevenLabs' webhooks, in the shapes of its SDK's models, and the bytes of a short recording."""

import base64
import json

AGENT_NUMBER = "+13125550190"
PHONE_NUMBER_ID = "phnum_8401k9ndc950ewza733y8thmpbrx"
CALLS_URL = "https://loads.example.com"


def element(role, message, seconds, **more):
    """Returns an element of a record's transcript, with every field that ElevenLabs sends."""
    made = {
        "role": role,
        "agent_metadata": None,
        "message": message,
        "multivoice_message": None,
        "tool_calls": [],
        "tool_results": [],
        "feedback": None,
        "llm_override": None,
        "producing_llm": None,
        "time_in_call_secs": seconds,
        "conversation_turn_metrics": None,
        "rag_retrieval_info": None,
        "llm_usage": None,
        "interrupted": False,
        "ignored_as_backchannel": False,
        "platform_event": None,
        "original_message": None,
        "reasoning": None,
        "source_medium": "audio" if role == "user" else None,
        "source_event_id": None,
        "used_static_kb_document_ids": [],
        "user_identifier": None,
        "id": None,
        "created_at_unix_ms": None,
        "triggered_guardrails": [],
        "file_input": None,
        "file_inputs": [],
        "contextual_update_info": None,
        "reasoned": False,
    }
    made.update(more)
    return made


def metrics(random, role, flat):
    """Returns latencies of a turn. ElevenLabs documents them flat and sends them below `metrics`."""
    if role == "user":
        values = {"convai_asr_trailing_service_latency": random.uniform(0.05, 0.3)}
    else:
        first = random.lognormvariate(-0.8, 0.5)
        values = {
            "convai_llm_service_ttfb": first,
            "convai_llm_service_ttf_sentence": first + random.uniform(0.1, 0.4),
            "convai_tts_service_ttfb": random.uniform(0.1, 0.4),
        }
    values = {name: {"elapsed_time": round(value, 4)} for name, value in values.items()}
    provider = {"convai_asr_provider": "elevenlabs" if role == "user" else None}
    return {**values, **provider} if flat else {"metrics": values, **provider}


def tool_element(seconds, name, kind, request_id, params, result, latency, error=None):
    """Returns an element without words in which the agent calls a tool."""
    params = json.dumps(params, ensure_ascii=False)
    call = {
        "type": kind,
        "request_id": request_id,
        "tool_name": name,
        "tool_id": f"__system_{name}" if kind == "system" else f"tool_{name}",
        "params_as_json": params,
        "tool_has_been_called": True,
        "tool_details": tool_details(kind, name, params),
    }
    value = error or json.dumps(result, ensure_ascii=False)
    answer = {
        "request_id": request_id,
        "tool_name": name,
        "tool_id": call["tool_id"],
        "result_value": value,
        "is_error": error is not None,
        "is_blocked": False,
        "tool_has_been_called": True,
        "tool_latency_secs": round(latency, 3),
        "error_type": "tool_execution_error" if error else "",
        "raw_error_message": error or "",
        "dynamic_variable_updates": [],
        "type": kind,
    }
    if kind == "system":
        answer["result"] = result
    return element("agent", None, seconds, tool_calls=[call], tool_results=[answer])


def tool_details(kind, name, params):
    if kind == "webhook":
        return {
            "type": kind,
            "method": "POST",
            "url": f"{CALLS_URL}/tools/{name}",
            "headers": {},
            "path_params": {},
            "query_params": {},
            "body": params,
        }
    if kind == "client":
        return {"type": kind, "parameters": params}
    if kind == "mcp":
        return {
            "type": kind,
            "mcp_server_id": "mcp_telematics",
            "mcp_server_name": "telematics",
            "integration_type": "mcp_server",
            "parameters": json.loads(params),
            "approval_policy": "auto_approve_all",
        }
    return None


def guardrail(kind):
    """Returns a triggered guardrail."""
    if kind == "custom":
        details = {"type": "llm", "rationale": "The driver was promised money that dispatch has not approved."}
        return {"guardrail_type": kind, "guardrail_name": "no_promises", "execution_mode": "blocking",
                "guardrail_details": details}
    details = {"type": "classifier", "score": 0.91, "threshold": 0.8}
    return {"guardrail_type": kind, "guardrail_name": None, "execution_mode": "streaming", "guardrail_details": details}


def phone_call(provider, direction, number, result, sid):
    """Returns the `phone_call` of a record's metadata."""
    made = {
        "type": provider,
        "direction": direction,
        "phone_number_id": PHONE_NUMBER_ID,
        "agent_number": AGENT_NUMBER,
        "external_number": number,
        "call_result": result,
    }
    if provider == "sip_trunking":
        return {**made, "call_id": f"sip-{sid[:16]}", "call_sid": f"SCL_{sid[:12]}", "sip_header_dynamic_variables": {}}
    return {**made, "stream_sid": f"MZ{sid}", "call_sid": f"CA{sid}"}


def record(call, transcript, counts):
    """Returns the `data` of a post-call event, which is also the response of ElevenLabs' API."""
    end = call.start + call.queue_wait + call.duration
    source = call.source
    variables = {**call.variables, "system__conversation_id": call.id, "system__agent_id": call.agent_id,
                 "system__call_duration_secs": call.duration}
    metadata = {
        "start_time_unix_secs": call.start,
        "accepted_time_unix_secs": call.start + call.queue_wait,
        "call_duration_secs": call.duration,
        "queue_wait_secs": call.queue_wait or None,
        "cost": call.cost,
        "cost_fiat": round(call.cost * 0.00022, 4),
        "deletion_settings": {
            "deletion_time_unix_secs": end + 730 * 86_400,
            "deleted_logs_at_time_unix_secs": None,
            "deleted_audio_at_time_unix_secs": None,
            "deleted_transcript_at_time_unix_secs": None,
            "delete_transcript_and_pii": True,
            "delete_audio": True,
        },
        "feedback": {"type": None, "overall_score": None, "likes": 0, "dislikes": 0, "rating": None, "comment": None},
        "authorization_method": "authorization_header",
        "charging": {"dev_discount": False, "tier": "pro", "llm_price": 0.0012, "llm_charge": 6,
                     "call_charge": max(call.cost - 6, 0), "free_minutes_consumed": 0.0},
        "phone_call": call.phone_call,
        "batch_call": call.batch_call,
        "termination_reason": call.termination_reason,
        "error": call.error,
        "warnings": [],
        "main_language": call.language,
        "rag_usage": None,
        "text_only": call.text_only,
        "features_usage": {"voicemail_detection": {"enabled": True, "used": call.answered_by_source == "tool"}},
        "eleven_assistant": {"is_eleven_assistant": False},
        "initiator_id": None,
        "conversation_initiation_source": source,
        "conversation_initiation_source_version": None,
        "timezone": "America/Chicago",
        "async_metadata": None,
        "whatsapp": call.whatsapp,
        "sms": call.sms,
        "agent_created_from": "ui",
        "agent_last_updated_from": "api",
    }
    made = {
        "agent_id": call.agent_id,
        "agent_name": call.agent_name,
        "conversation_product": "agents",
        "status": "failed" if call.error else "done",
        "user_id": call.user_id,
        "branch_id": None,
        "version_id": "agtvrsn_0401kd",
        "environment": call.environment,
        "conversation_id": call.id,
        "transcript": transcript,
        "metadata": metadata,
        "analysis": call.analysis,
        "user_message_count": counts[0],
        "agent_message_count": counts[1],
        "visited_agents": [{"agent_id": agent, "branch_id": None} for agent in call.visited_agents],
        "conversation_initiation_client_data": {
            "conversation_config_override": None,
            "custom_llm_extra_body": {},
            "user_id": call.user_id,
            "source_info": {"source": source, "version": None},
            "branch_id": None,
            "environment": None,
            "dynamic_variables": variables,
        },
        "has_audio": call.has_audio,
        "has_user_audio": call.has_audio,
        "has_response_audio": call.has_audio,
        "has_auxiliary_audio": False,
        "tag_ids": call.tags,
    }
    if call.parent:
        made["parent_conversation_id"] = call.parent
    return made


def initiation_failure(call, provider, reason):
    """Returns the `data` of the event of a call that was not established."""
    if provider == "sip_trunking":
        code, text = {"busy": (486, "Busy here"), "no-answer": (480, "Temporarily unavailable")}.get(
            reason, (503, "Service unavailable"))
        kind = "sip"
        body = {
            "from_number": AGENT_NUMBER,
            "to_number": call.number,
            "sip_status_code": code,
            "error_reason": f"INVITE failed: sip status: {code}: {text} (SIP {code})",
            "call_sid": f"SCL_{call.sid[:12]}",
            "sip_status": text,
            "twirp_code": "unavailable",
        }
    else:
        kind = provider
        body = {
            "Called": call.number,
            "To": call.number,
            "From": AGENT_NUMBER,
            "Caller": AGENT_NUMBER,
            "Direction": "outbound-api",
            "CallSid": f"CA{call.sid}",
            "CallStatus": {"unknown": "failed"}.get(reason, reason),
            "CallDuration": "0",
            "Duration": "0",
            "SipResponseCode": {"busy": "486", "no-answer": "487"}.get(reason, "500"),
            "ApiVersion": "2010-04-01",
            "SequenceNumber": "2",
        }
    return {"agent_id": call.agent_id, "conversation_id": call.id, "failure_reason": reason,
            "metadata": {"type": kind, "body": body}}


def answering_machine(call, verdict, nested):
    """Returns the `data` of an answering machine detection. Its form is not documented, so there are two."""
    made = {"agent_id": call.agent_id, "conversation_id": call.id}
    if nested:
        body = {"AnsweredBy": verdict, "CallSid": f"CA{call.sid}", "MachineDetectionDuration": "3150"}
        return {**made, "metadata": {"type": "twilio", "body": body}}
    return {**made, "call_sid": f"CA{call.sid}", "answered_by": verdict}


def event(kind, at, data):
    return {"type": kind, "event_timestamp": at, "data": data}


# A silent frame of MPEG-2 layer III, 8 kbit/s, 24 kHz, mono: 24 bytes for 24 ms.
MP3_FRAME = bytes([0xFF, 0xF3, 0x14, 0xC4]) + bytes(20)


def recording(seconds):
    """Returns a silent MP3 in base64, a kilobyte for each second."""
    return base64.b64encode(MP3_FRAME * (seconds * 1000 // 24)).decode()
