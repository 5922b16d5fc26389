"""Decode each line of FILE, one frame a line, with PyPI `dlt645` and print the results."""

import json
import sys
from pathlib import Path

from dlt645.protocol.protocol import DLT645Protocol
from dlt645.service.clientsvc.client_service import MeterClientService

client = MeterClientService(None)


def value_of(item):
    value = getattr(item, "value", None)
    return getattr(value, "event", value)


def decode(octets):
    frame = DLT645Protocol.deserialize(octets)
    client.address = frame.addr
    answer = client.handle_response(frame)
    return [value_of(one) for one in answer] if isinstance(answer, list) else value_of(answer)


told = {}
for text in Path(sys.argv[1]).read_text().split():
    try:
        told[text] = repr(decode(bytes.fromhex(text)))
    except Exception as error:
        told[text] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
