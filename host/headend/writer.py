"""A thread that stores many messages with one commit, then passes on their answers.

New messages wait in a queue during a commit, and the next commit takes all of them, at most LIMIT
messages; where few messages come, a commit waits GATHER_S for more. Of one sender only the newest
message waits: an older one would be answered for nobody.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from host.frames.link import Kind
from host.headend.gate import Message
from host.headend.ingest import Ingest
from host.headend.waiting import WaitingLine

LIMIT = 100
GATHER_S = 0.02
# A batch that would wait longer is put off: a device repeats itself after three seconds at the
# earliest.
BATCH_WAIT_S = 2.4
_PENDING_LIMIT = 10_000
_FIRST_PACE_S = 0.005
_SLOWEST_S = 0.1  # a batch that took longer was held up, as by a database that began anew
_JOB = "job"

Answered = Callable[[Sequence[tuple[Any, bytes]]], None]


class Writer:
    """A writer that takes messages from any thread and calls `answered` in its own thread.

    commits     how many there were
    put_off     messages that would have waited for too long
    overtaken   messages that were left out, because their sender sent another one meanwhile
    """

    def __init__(self, ingest: Ingest, answered: Answered) -> None:
        self.commits = 0
        self.put_off = 0
        self.overtaken = 0
        self.commit_s = 0.0
        self._pace_s = _FIRST_PACE_S  # what a batch takes; greetings take next to nothing
        self._batches_put = 0
        self._batches_done = 0
        self._line = WaitingLine()
        self._ingest = ingest
        self._answered = answered
        self._newest: dict[Any, Message] = {}  # of each sender, as long as it waits
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Any, Message] | str | None] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many messages wait."""
        return self._queue.qsize()

    @property
    def wait_s(self) -> float:
        """Return how long a message that comes now will wait, as far as that can be told."""
        return (self._batches_put - self._batches_done) * self._pace_s

    def put(self, sender: Any, message: Message) -> int:
        """Queue a message and return 0; `answered` is called with `sender` and the answer.

        Where it would wait too long it is not queued: return after how many seconds it may come
        again. Greetings are put off sooner, so that who has begun can end. A message that waits
        already is not queued twice. Results of commands are always queued.
        """
        if message.kind == Kind.RESULT:
            self._queue.put((sender, message))
            return 0
        with self._lock:
            waiting = self._newest.get(sender)
            if waiting is not None and (waiting.head, waiting.mac) == (message.head, message.mac):
                self.overtaken += 1
                return 0
        if after_s := self._after_s(message):
            self.put_off += 1
            return after_s
        self._batches_put += message.kind == Kind.BATCH
        with self._lock:
            self._newest[sender] = message
        self._queue.put((sender, message))
        return 0

    def _after_s(self, message: Message) -> int:
        """Return after how many seconds a message may come again, 0: it is taken now."""
        wait_s = self.wait_s
        is_full = self._queue.qsize() >= _PENDING_LIMIT
        if message.kind == Kind.HELLO and not is_full:
            left = self._ingest.brings(message)
            now = time.monotonic()
            return self._line.enter(message.concentrator, left, wait_s, self._pace_s, now)
        if is_full or wait_s > BATCH_WAIT_S:
            return self._line.put_off(message.concentrator, wait_s)
        return 0

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
        began, before = time.monotonic(), self._ingest.counters["records"]
        answers = self._ingest.answer_all([message for _, message in taken])
        self.commits += 1
        now = time.monotonic()
        self.commit_s = now - began
        records = self._ingest.counters["records"] - before
        # A result of a command says nothing of what its sender has left.
        told = [one for _, one in taken if one.kind != Kind.RESULT]
        lefts = [(one.concentrator, self._ingest.left(one)) for one in told]
        self._line.on_commit(lefts, records, self.commit_s, now)
        if batches := sum(message.kind == Kind.BATCH for _, message in taken):
            self._batches_done += batches
            newest_s = min(_SLOWEST_S, self.commit_s / batches)
            self._pace_s += batches / (batches + LIMIT) * (newest_s - self._pace_s)
        senders = (sender for sender, _ in taken)
        self._answered([*zip(senders, answers, strict=True)])

    def _gather(self) -> tuple[list[tuple[Any, Message]], bool]:
        """Return the messages of the next commit, and whether it is the last."""
        one = self._queue.get()
        taken: list[tuple[Any, Message]] = []
        until = time.monotonic() + GATHER_S
        while isinstance(one, tuple):
            if self._is_newest(*one):
                taken.append(one)
            if len(taken) >= LIMIT or not self._jobs.empty():
                return taken, False
            try:
                one = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return taken, False
        return taken, one is None

    def _is_newest(self, sender: Any, message: Message) -> bool:
        """Return whether a message that has waited is still the newest of its sender."""
        if message.kind == Kind.RESULT:
            return True
        with self._lock:
            if self._newest.get(sender) is message:
                del self._newest[sender]
                return True
        self.overtaken += 1
        if message.kind == Kind.BATCH:
            self._batches_done += 1
        return False
