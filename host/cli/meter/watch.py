"""A meter that is read again and again: a line each time, and a picture of the values."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count as counted
from pathlib import Path

import click

from host.cli.meter.session import Session, values_of
from host.cli.output import echo, print_json
from host.frames.orders import Request
from host.link.meters import AskError, MeterLine
from host.words import _

# The first of them that has a character draws it.
_FONTS = ["DejaVu Sans", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "SimHei", "PingFang SC"]
_INCHES = (9.0, 5.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often a meter is read, how many times (None: until Ctrl-C), and where it is drawn."""

    every_s: float
    times: int | None
    plot_path: Path | None


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of all that was asked for: texts by the names of the values, None: no answer."""

    moment: datetime
    values: dict[str, str | None]


def repeat(
    session: Session, line: MeterLine, address: str, requests: list[Request], plan: Plan
) -> None:
    """Read all requests at each turn and print what came; draw it at the end."""
    looks: list[Look] = []
    try:
        for look in _looks(session, line, address, requests, plan):
            looks.append(look)
            _print(session, look)
    except KeyboardInterrupt:
        pass
    if plan.plot_path is not None:
        _draw(looks, plan.plot_path, address)
    if not any(one is not None for look in looks for one in look.values.values()):
        raise click.ClickException(
            _("meter {address} gave no answer in {count} turns").format(
                address=address, count=len(looks)
            )
        )


def _looks(
    session: Session, line: MeterLine, address: str, requests: list[Request], plan: Plan
) -> Iterator[Look]:
    """Yield a look each turn; a turn that took longer than its time is followed at once."""
    started_s = time.monotonic()
    for turn in counted(1) if plan.times is None else range(1, plan.times + 1):
        values: dict[str, str | None] = {}
        moment = datetime.now()
        for request in requests:
            asked = request.data[::-1].hex().upper()
            try:
                said = session.described(line.read(address, *request), asked)
            except AskError:
                values[asked] = None
                continue
            values.update(values_of(said))
        yield Look(moment, values)
        if turn != plan.times:
            time.sleep(max(0.0, started_s + turn * plan.every_s - time.monotonic()))


def _print(session: Session, look: Look) -> None:
    if session.as_json:
        print_json({"time": look.moment.isoformat(" ", "milliseconds"), **look.values})
        return
    told = (f"{name}: {'-' if value is None else value}" for name, value in look.values.items())
    echo(f"{look.moment:%H:%M:%S}  " + "  ".join(told))


def _draw(looks: list[Look], path: Path, address: str) -> None:
    """Write a PNG with a line for each value that is a number."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in dict.fromkeys(name for look in looks for name in look.values):
        points = [
            (look.moment, number)
            for look in looks
            if (number := _number(look.values.get(name))) is not None
        ]
        if points:
            moments, numbers = zip(*points, strict=True)
            axes.plot(moments, numbers, marker=".", label=name)
    axes.set_title(_("Meter {address}").format(address=address))
    axes.legend(loc="best")
    axes.grid(alpha=0.3)
    figure.autofmt_xdate()
    try:
        with rc_context({"font.family": _FONTS}):
            figure.savefig(path, format="png")
    except OSError as error:
        raise click.ClickException(
            _("cannot write {path}: {reason}").format(path=path, reason=error.strerror)
        ) from error
    echo(_("drawn in {path}").format(path=path), err=True)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
