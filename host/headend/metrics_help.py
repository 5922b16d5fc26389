"""What each number of `/metrics` means: the page `/metrics/help`, and the HELP lines.

A number is a gauge, what is so now, or a counter, which grows from 0 since the head-end started.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from host.words import LANGUAGES, _, marked, speaking

# Of `headend.metrics.state`: a test finds every counter of the code here.
MEANINGS: Mapping[str, str] = {
    # Gauges.
    "connections": marked("connections of concentrators that are open now"),
    "messages_waiting": marked("messages that came and are not stored yet"),
    "wait_seconds": marked(
        "how long a message that comes now waits for its answer; above one second concentrators "
        "are told to come later"
    ),
    "last_commit_seconds": marked(
        "how long the database took for its last commit; above 30 seconds /healthz says so"
    ),
    "concentrators_heard": marked("concentrators that have called since the start"),
    "records_behind": marked(
        "records that concentrators have and the head-end does not have yet; it grows when a "
        "network was away and falls again by itself"
    ),
    "start_time_seconds": marked("when the head-end started, in seconds since 1970"),
    # What was stored.
    "hellos": marked("greetings of concentrators that were answered"),
    "batches": marked("messages with records that were worked in"),
    "records": marked("records that were stored"),
    "duplicates": marked("records that came again and were stored already: harmless"),
    "repeats": marked("messages that came again and got the same answer again: harmless"),
    "overtaken": marked("messages of one connection that a newer one made needless: harmless"),
    "messages_overtaken": marked("messages that came again while they waited: harmless"),
    "commits": marked("commits of the database"),
    "results": marked("commands that have ended with an answer of their concentrator"),
    "messages_put_off": marked("messages that were told to come later"),
    # What asks for a look.
    "gap": marked("messages that began behind the record that was wanted: asked for again"),
    "let_go": marked(
        "gaps that a concentrator has told of, as its room was short: `dianka headend show` has "
        "them"
    ),
    "records_lost": marked("records that a concentrator had deleted before they were stored"),
    "behind": marked(
        "greetings of concentrators that know of more than this database, as after a restore"
    ),
    "quarantined": marked(
        "records of an account that belongs to another concentrator: see `headend waiting`"
    ),
    "store_failed": marked(
        "messages that the database did not take: look for a full disk or a lock"
    ),
    "failed": marked("messages that could not be worked in: the log has the reason, tell it"),
    # Refused messages.
    "malformed": marked("messages that are not what the formats say"),
    "bad_mac": marked("messages that are not genuine: a wrong key, or a stranger"),
    "bad_version": marked("messages of another version of the format, not genuine"),
    "unknown_concentrator": marked("messages under a number that has no key in --keys"),
    "other_journal": marked(
        "messages of a board with another journal than the one on record: `headend replace`"
    ),
    "withdrawn": marked("messages under a key that was withdrawn"),
    "version": marked("genuine messages of another version: update the firmware"),
    "stale": marked("messages with a number below one that was seen"),
    "conflict": marked("batches with a record that differs from the one that is stored"),
    "other_part": marked("messages of concentrators that belong to another --shard"),
    "torn": marked("frames that did not arrive whole"),
    "oversized": marked("frames that are longer than any message"),
    # Closed connections.
    "silent": marked("connections closed: nothing came in time"),
    "slow": marked("connections closed: nothing genuine and new came in time"),
    "forged": marked("connections closed: three messages were not genuine"),
    "garbage": marked("connections closed: more than 100 broken frames"),
    "idle": marked("connections closed: nothing new for 10 minutes"),
    "deaf": marked("connections closed: they take no answers"),
    "superseded": marked("connections closed: their concentrator has made newer ones"),
    "crowded_out": marked("connections closed: many others came, and nothing genuine from them"),
    "too_many_connections": marked("connections refused: the system gives no more files"),
}
_ROW = '<tr><th scope="row"><code>{name}</code><td>{kind}<td class="n">{value}<td>{meaning}'
# A page of `str.format`.
_PAGE = Path(__file__).with_suffix(".html")


def language_of(accepted: str) -> str:
    """Return the language of LANGUAGES that a browser's Accept-Language asks for first."""
    first = accepted.strip().lower()[:2]
    return first if first in LANGUAGES else "en"


def help_page(state: Mapping[str, Any], language: str) -> str:
    """Return the page that explains each number of a state, and of those that are still 0."""
    with speaking(language):
        gauges, counts = state["gauges"], state["counts"]
        rows = [_row(f"dianka_{name}", _("now"), gauges[name], name) for name in gauges]
        names = [name for name in MEANINGS if name not in gauges]
        names += sorted(set(counts) - set(MEANINGS))
        for name in names:
            rows.append(_row(f"dianka_{name}_total", _("counter"), counts.get(name, 0), name))
        text = _(
            "These are the numbers of /metrics, which Prometheus reads. Counters grow from 0 "
            "since the head-end started; one that is still 0 is not in /metrics."
        )
        return _PAGE.read_text(encoding="utf-8").format(
            language="zh-CN" if language == "zh" else language,
            title=_("What the numbers of /metrics mean"),
            text=text,
            head=(_("number"), _("kind"), _("value"), _("meaning")),
            rows="\n".join(rows),
        )


def _row(shown: str, kind: str, value: object, name: str) -> str:
    meaning = _(MEANINGS[name]) if name in MEANINGS else ""
    return _ROW.format(
        name=escape(shown), kind=escape(kind), value=escape(str(value)), meaning=escape(meaning)
    )
