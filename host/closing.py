"""Things that are open until a `with` statement is left."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """What a `with` statement gives as it is, and closes when it is left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *trouble: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give up what is open."""
