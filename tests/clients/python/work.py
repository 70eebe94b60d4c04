"""Does real work with the client that openapi-python-client makes of the document, and prints what came of it."""

import json
import sys
from datetime import datetime, timezone

from transcribe_hook_client import AuthenticatedClient
from transcribe_hook_client.api.calls import get_call, list_calls, list_transcriptions, search_transcriptions
from transcribe_hook_client.api.webhooks import store_turn
from transcribe_hook_client.models import DeliveredSpeaker, TurnDelivery

url, token = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token)


def turn(call: str, second: int) -> TurnDelivery:
    return TurnDelivery(
        conversation_id=call,
        speaker=DeliveredSpeaker.USER,
        message=f"The reefer reads {second} degrees.",
        timestamp=datetime(2026, 9, 28, 12, 0, second, tzinfo=timezone.utc),
    )


stored = [store_turn.sync(client=client, body=turn(f"conv_python_{n % 3}", n)) for n in range(6)]
names, cursor = [], None
while True:
    page = list_calls.sync(client=client, limit=2, **({"cursor": cursor} if cursor else {}))
    names += [call.conversation_id for call in page.data]
    cursor = page.next_cursor
    if not page.has_more:
        break
call = get_call.sync("conv_python_0", client=client)
turns = list_transcriptions.sync("conv_python_0", client=client)
hits = search_transcriptions.sync(client=client, q="reefer", conversation_id="conv_python_0")
missing = get_call.sync("no_such_call", client=client)
print(
    json.dumps(
        {
            "sequence_numbers": [turn.sequence_number for turn in stored],
            "calls": sorted(name for name in names if name.startswith("conv_python_")),
            "status": call.status.value,
            "driver_id": call.driver_id,
            "turns": [turn.message_text for turn in turns.data],
            "hits": len(hits.data),
            "error": missing.status.value,
        }
    )
)
