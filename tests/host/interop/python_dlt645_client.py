"""Ask meters on a simulated line (HOST PORT ADDRESS...) with `python-dlt645`; print results."""

import json
import socket
import sys
from functools import partial

import dlt645


class Line:
    """A file-like object on a socket, as the library needs one; it keeps the bytes."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port))
        self.socket.settimeout(1.5)
        self.sent = self.heard = b""

    def write(self, data):
        self.sent += data
        self.socket.sendall(data)

    def read(self, size):
        try:
            data = self.socket.recv(size)
        except TimeoutError:
            return b""
        self.heard += data
        return data

    def drain(self):
        while self.read(1):
            pass


def read(line, address, di):
    frame = dlt645.Frame(address)
    frame.data = di
    dlt645.write_frame(line, frame)
    return dlt645.read_frame(dlt645.iogen(line)).data


line = Line(sys.argv[1], int(sys.argv[2]))
told = {}


def step(name, action):
    line.sent = line.heard = b""
    try:
        result = action()
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    line.drain()
    told[name] = {
        "value": str(result),
        "sent": line.sent.hex().upper(),
        "heard": line.heard.hex().upper(),
    }


for address in sys.argv[3:]:
    step(f"energy {address}", partial(dlt645.get_active_energy, address, line))
first = sys.argv[3]
step("no data", lambda: read(line, first, "00010001"))
step("phase B", lambda: read(line, first, "02010200"))
step("block", lambda: read(line, first, "0001ff00"))
step("all meters", lambda: dlt645.get_addr(line))
print(json.dumps(told))
