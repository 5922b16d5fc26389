from typing import Any

class Partition:
    TYPE_DATA: int
    @staticmethod
    def find(type: int, *, label: str = ...) -> list[Any]: ...
