"""A thread that stores many messages with one commit, then passes on their answers.

New messages wait in a queue during a commit, and the next commit takes all of them, at most LIMIT
messages; where few messages come, a commit waits GATHER_S for more.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from host.headend.gate import Message
from host.headend.ingest import Ingest

LIMIT = 100
GATHER_S = 0.02
_PENDING_LIMIT = 10_000
_JOB = "job"

Answered = Callable[[Sequence[tuple[Any, bytes]]], None]


class Writer:
    """A writer that takes messages from any thread and calls `answered` in its own thread.

    commits     how many there were
    dropped     messages that found the queue full: their senders ask again
    """

    def __init__(self, ingest: Ingest, answered: Answered) -> None:
        self.commits = 0
        self.dropped = 0
        self.commit_s = 0.0
        self._ingest = ingest
        self._answered = answered
        self._queue: queue.SimpleQueue[tuple[Any, Message] | str | None] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many messages wait."""
        return self._queue.qsize()

    def put(self, sender: Any, message: Message) -> None:
        """Queue a message; `answered` is called with `sender` and the answer."""
        if self._queue.qsize() >= _PENDING_LIMIT:
            self.dropped += 1
            return
        self._queue.put((sender, message))

    def between_commits(self, job: Callable[[], None]) -> None:
        """Have the writer's thread do something as soon as it is between two commits."""
        self._jobs.put(job)
        self._queue.put(_JOB)

    def stop(self) -> None:
        """Store the waiting messages, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            taken, is_last = self._gather()
            if taken:
                self._commit(taken)
            while not self._jobs.empty():
                self._jobs.get()()

    def _commit(self, taken: Sequence[tuple[Any, Message]]) -> None:
        began = time.monotonic()
        answers = self._ingest.answer_all([message for _, message in taken])
        self.commits += 1
        self.commit_s = time.monotonic() - began
        senders = (sender for sender, _ in taken)
        self._answered([*zip(senders, answers, strict=True)])

    def _gather(self) -> tuple[list[tuple[Any, Message]], bool]:
        """Return the messages of the next commit, and whether it is the last."""
        one = self._queue.get()
        taken: list[tuple[Any, Message]] = []
        until = time.monotonic() + GATHER_S
        while isinstance(one, tuple):
            taken.append(one)
            if len(taken) >= LIMIT or not self._jobs.empty():
                return taken, False
            try:
                one = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return taken, False
        return taken, one is None
