"""`dianka meter scan`: which meters are on a line."""

import click

from host.cli import shown
from host.cli.meter.session import Session, search_progress, with_session
from host.cli.output import echo, print_json
from host.link.survey import Survey, in_words
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

    Each meter is shown when it is found. Ctrl-C ends the search; what was found counts. On a line
    with noise the search is made three times; it ends with status 1 and names the addresses
    where a meter may be that was not understood.
    """
    told, ended = 0, True

    def changed(survey: Survey) -> None:
        nonlocal told
        if not session.as_json:
            for address in survey.meters[told:]:
                echo(address)
        told = len(survey.meters)
        progress.update(
            task,
            description=_("{questions} questions, {found} meters").format(
                questions=survey.questions, found=told
            ),
        )

    with session.opened() as line, search_progress() as progress:
        task = progress.add_task("", total=None)
        survey = Survey(line, session.standard, changed)
        try:
            survey.run()
        except KeyboardInterrupt:
            ended = False
    if session.as_json:
        print_json(
            {
                "addresses": sorted(survey.meters),
                "doubtful": survey.doubtful,
                "questions": survey.questions,
                "ended": ended,
            }
        )
    else:
        echo(
            _("{addresses} meters, {asked} questions").format(
                addresses=told, asked=survey.questions
            ),
            err=True,
        )
    if not ended:
        echo(_("stopped: there may be more"), err=True)
        raise click.exceptions.Exit(_INTERRUPTED)
    _conclude(survey)


def _conclude(survey: Survey) -> None:
    """End with an error unless it is known which meters are there."""
    if survey.doubtful:
        ends = ", ".join(map(in_words, survey.doubtful))
        raise click.ClickException(
            _(
                "there may be more: answers were spoilt or lost at addresses {ends}; look at the "
                "wiring and the ends of the line and scan again, or two meters have one address"
            ).format(ends=ends)
        )
    if not survey.meters:
        raise click.ClickException(
            _(
                "nobody answers: check wiring A/B, power, speed (--baud) and --standard, and "
                "--timeout where the way to the line is long"
            )
        )
