"""Run the client of PyPI `dlt645` on a simulated line (HOST PORT) and print its results.

For each step it prints the value returned, as text, and the bytes sent and received.
"""

import json
import sys
from datetime import datetime

from dlt645 import MeterClientService

host, port = sys.argv[1], int(sys.argv[2])
now = datetime.fromisoformat(sys.argv[3])
client = MeterClientService.new_tcp_client(host, port, timeout=1.5)
client.enable_message_capture(10)
told = {}


def step(name, action):
    client.clear_captured_messages()
    try:
        result = action()
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    value = getattr(result, "value", result)
    sent = [one.data.hex().upper() for one in client.get_captured_tx_messages()]
    heard = [one.data.hex().upper() for one in client.get_captured_rx_messages()]
    told[name] = {"value": str(value), "sent": sent, "heard": heard}


client.set_address("000000000017")
step("energy, address as printed", lambda: client.read_00(0x00010000))
client.set_address("170000000000")
step("energy, address reversed", lambda: client.read_00(0x00010000))
step("address", client.read_address)
step("voltage A", lambda: client.read_02(0x02010100))
step("voltage B", lambda: client.read_02(0x02010200))
step("demand", lambda: client.read_01(0x01010000))
step("energy block", lambda: client.read_00(0x0001FF00))
step("date", lambda: client.read_04(0x04000101))
step("status 3", lambda: client.read_04(0x04000503))
step("no data", lambda: client.read_00(0x00010001))
step("write", lambda: client.write_04(0x04000103, "30", "02123456"))
step("write refused", lambda: client.write_04(0x04000103, "45", "02999999"))
step("read back", lambda: client.read_04(0x04000103))
step("freeze now", lambda: client.freeze(99, 99, 99, 99))
step("freeze daily", lambda: client.freeze(99, 99, 0, 30))
step("speed 9600", lambda: client.change_baud_rate(9600))
step("password", lambda: client.change_password("02123456", "02112233"))
step("clear demand", lambda: client.clear_demand(0x01010000, "02123456"))
step("clear events", lambda: client.clear_event("02123456"))
step("follow-up", lambda: client.read_03(0x03300201))
step("time", lambda: client.broadcast_time_sync(now))
client.disconnect()
print(json.dumps(told))
