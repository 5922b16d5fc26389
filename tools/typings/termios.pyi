from typing import Any

TCSANOW: int
B9600: int

def setraw(fd: int) -> None: ...
def tcgetattr(fd: int) -> list[Any]: ...  # six numbers, then the list of characters
def tcsetattr(fd: int, when: int, attributes: list[Any]) -> None: ...
