"""What is frozen into an image: the whole device side of the product, and nothing else.

MicroPython's build runs this file with `package` and `module` already defined.
"""

for _name in ("dlt645", "prepay", "card", "uplink", "concentrator", "boards"):
    package(_name)  # noqa: F821 - the build defines it
module("crypto.py")  # noqa: F821 - the build defines it
