"""Decode each line of FILE, one frame a line, with PyPI `python-dlt645` and print the results."""

import json
import sys
from pathlib import Path

import dlt645

told = {}
for text in Path(sys.argv[1]).read_text().split():
    octets = bytes.fromhex(text)
    try:
        frame = dlt645.read_frame(octet.to_bytes(1, "big") for octet in octets)
        told[text] = frame.data if frame else "nothing"
    except Exception as error:
        told[text] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
