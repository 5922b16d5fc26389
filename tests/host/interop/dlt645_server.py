"""Run the meter server of PyPI `dlt645` for ADDRESS, print its port, serve until stdin ends."""

import json
import socket
import sys

from dlt645 import MeterServerService

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = MeterServerService.new_tcp_server("127.0.0.1", port)
server.set_address(sys.argv[1])
server.set_00(0x00010000, 1234.56)
server.set_00(0x00000000, -1.23)
server.set_02(0x02010100, 219.9)
server.start()
print(json.dumps({"port": port}), flush=True)
sys.stdin.read()
server.stop()
