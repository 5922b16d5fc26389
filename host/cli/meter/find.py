"""`dianka meter scan`: which meters are on a line."""

import click

from host.cli import shown
from host.cli.meter.session import Session, search_progress, with_session
from host.cli.output import echo, print_json
from host.words import _

# As a shell says of a program that was interrupted.
_INTERRUPTED = 130


@shown.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 scan
  dianka meter --port socket://10.0.0.7:7000 --timeout 3 scan
"""
)
@with_session
def scan(session: Session) -> None:
    """Find all unknown meters of a line by a search that copes with collisions.

    Each meter is shown when it is found. Ctrl-C ends the search; what was found counts.
    """
    asked, told, ended = 0, list[str](), True
    with session.opened() as line, search_progress() as progress:
        task = progress.add_task("", total=None)

        def heard(questions: int, found: list[str]) -> None:
            nonlocal asked
            asked = questions
            for address in found[len(told) :]:
                told.append(address)
                if not session.as_json:
                    echo(address)
            progress.update(
                task,
                description=_("{questions} questions, {found} meters").format(
                    questions=questions, found=len(found)
                ),
            )

        try:
            line.search(session.standard, heard)
        except KeyboardInterrupt:
            ended = False
    if session.as_json:
        print_json({"addresses": sorted(told), "questions": asked, "ended": ended})
    else:
        echo(
            _("{addresses} meters, {asked} questions").format(addresses=len(told), asked=asked),
            err=True,
        )
    if not ended:
        echo(_("stopped: there may be more"), err=True)
        raise click.exceptions.Exit(_INTERRUPTED)
    if not told:
        raise click.ClickException(
            _(
                "nobody answers: check wiring A/B, power, speed (--baud) and --standard, and "
                "--timeout where the way to the line is long"
            )
        )
