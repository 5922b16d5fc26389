"""What is frozen into an image: the whole device side of the product, and nothing else.

MicroPython's build runs this file with `package` and `module` already defined.
"""

for _name in ("crypto", "dlt645", "prepay", "card", "uplink", "concentrator"):
    package(_name)  # noqa: F821 - the build defines it
# All but boards/unix.py, which no image is built for.
for _name in (
    "__init__.py",
    "littlefs.py",
    "tcp.py",
    "wifi.py",
    "chip.py",
    "esp32.py",
    "rp2.py",
    "stm32.py",
    "qemu.py",
):
    module("boards/" + _name)  # noqa: F821 - the build defines it
for _name in ("civil.py", "ticks.py", "ports.py", "main.py"):
    module(_name)  # noqa: F821 - the build defines it
