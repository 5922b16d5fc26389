"""What is frozen into an image: the whole device side of the product, and nothing else.

MicroPython's build runs this file in its folder, with `package` and `module` already defined.
"""

import os

for _name in ("crypto", "dlt645", "prepay", "card", "uplink", "concentrator"):
    package(_name)  # noqa: F821 - the build defines it
# No image is built for boards/unix.py.
for _name in sorted(os.listdir("boards")):
    if _name.endswith(".py") and _name != "unix.py":
        module("boards/" + _name)  # noqa: F821 - the build defines it
for _name in ("civil.py", "ticks.py", "ports.py", "main.py"):
    module(_name)  # noqa: F821 - the build defines it
