"""Commands and groups whose help appears in the language that is spoken.

Their docstrings, epilogs and the help of their options stay English in the code. They are
translated here, at the moment they are shown; `tools/words.py` collects them from the commands.
"""

import copy
import inspect
import re
from collections.abc import Callable
from typing import Any

import click
from rich.cells import cell_len

from host.words import _

# A command remembers the names of its help option from the first time that it is asked for.
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
# Names of options and the space beside them.
_LEFT_CELLS = 34
_HELP_OPTION = "Show this message and exit."
# In an epilog, a name that is explained behind it.
_LISTED = re.compile(r"( {2}[\w-]+ {2,})(\S.*)")
# Chinese may break anywhere but before a mark that ends something.
_WORD = re.compile(r"[\x21-\x7e]+|\s+|.[，。；：、）]*")


def texts_of(command: click.Command) -> list[str]:
    """Return the English texts which the help of a command shows, without its subcommands'."""
    options = (getattr(one, "help", None) for one in command.params)
    defaults = (getattr(one, "show_default", None) for one in command.params)
    told = (default for default in defaults if isinstance(default, str))
    texts = [command.help, *options, *told, _HELP_OPTION]
    parts = _parts_of(command.epilog)
    said = [part for part in parts if _is_said(part)]
    listed = [match[2] for match in map(_LISTED.fullmatch, parts) if match]
    return [*(_flat(text) for text in texts if text), *said, *listed]


def _flat(text: str) -> str:
    """Return a text with each paragraph on one line, but for those click is not to wrap."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        one if one.startswith("\b") else one.replace("\n", " ") for one in paragraphs
    )


def _parts_of(epilog: str | None) -> list[str]:
    """Return the lines of an epilog, those that belong to one sentence together."""
    parts: list[str] = []
    for line in inspect.cleandoc(epilog or "").split("\n"):
        if parts and _is_said(line) and _is_said(parts[-1]):
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return parts


def _is_said(part: str) -> bool:
    """Return whether it is a sentence: no example, which is indented, and no mark of click's."""
    return part.strip() != "" and part[0] not in " \b"


def _translated_part(part: str) -> str:
    """Return a part of an epilog in the language spoken; examples stay as they are."""
    if match := _LISTED.fullmatch(part):
        return match[1] + _(match[2])
    return _(part) if _is_said(part) else part


def _translated(text: str | None, cells: int) -> str | None:
    """Return a text in the language spoken, in lines of at most `cells` if it was translated.

    click counts characters and breaks lines at blanks, which is right for English alone.
    """
    english = _flat(text or "")
    told = _(english) if english else ""
    if told == english:
        return text
    return "\n\n".join(_in_lines(paragraph, cells) for paragraph in told.split("\n\n"))


def _in_lines(paragraph: str, cells: int) -> str:
    if paragraph.startswith("\b"):
        return paragraph
    lines = [""]
    for word in _WORD.findall(paragraph):
        if cell_len(lines[-1] + word) > cells:
            lines.append("")
        lines[-1] += word if lines[-1] else word.lstrip()
    return "\b\n" + "\n".join(line.rstrip() for line in lines) if len(lines) > 1 else paragraph


def _twin(command: click.Command, ctx: click.Context, width: int) -> Any:
    """Return a copy of a command that has its texts in the language spoken."""
    twin: Any = copy.copy(command)
    twin.help = _translated(command.help, width - 4)
    twin.epilog = "\n".join(map(_translated_part, _parts_of(command.epilog)))
    twin.params = [copy.copy(param) for param in command.params]
    twin._help_option = copy.copy(command.get_help_option(ctx))
    twin._help_option.help = _HELP_OPTION
    for option in (*twin.params, twin._help_option):
        if isinstance(option, click.Option):
            option.help = _translated(option.help, width - _LEFT_CELLS)
            if isinstance(option.show_default, str):
                option.show_default = _(option.show_default)
    return twin


def _first_sentence(command: click.Command, otherwise: str) -> str:
    """Return the start of a translated docstring, or `otherwise`, what click made of it."""
    english = _flat(command.help or "")
    translated = _(english) if english else ""
    return otherwise if translated == english else translated.split("。")[0]


def _of_negative_number(error: click.NoSuchOption, args: list[str]) -> click.UsageError:
    """Return what to say of an option that nobody has: it may be meant as a number below 0."""
    typed = next((one for one in args if one.startswith(error.option_name)), "")
    if not re.fullmatch(r"-\d.*", typed):
        return error
    return click.UsageError(
        _(
            "{typed} is read as an option: write it behind --, where a number below 0 is meant"
        ).format(typed=typed),
        error.ctx,
    )


class Command(click.Command):
    """A command, shown in the language spoken."""

    def __init__(self, *args: Any, **told: Any) -> None:
        super().__init__(*args, **{"context_settings": HELP_OPTIONS, **told})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read arguments and options; say how to write a number below 0."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _of_negative_number(error, typed) from error

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all of the help."""
        click.Command.format_help(_twin(self, ctx, formatter.width), ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the line for the list of a group."""
        return _first_sentence(self, super().get_short_help_str(limit))


class Group(click.Group):
    """A group, shown in the language spoken, with commands that are so too."""

    command_class = Command

    def __init__(self, *args: Any, **told: Any) -> None:
        super().__init__(*args, **{"context_settings": HELP_OPTIONS, **told})

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all of the help."""
        click.Group.format_help(_twin(self, ctx, formatter.width), ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the line for the list of a group."""
        return _first_sentence(self, super().get_short_help_str(limit))


Group.group_class = Group


def command(name: str | None = None, **told: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return what makes a command of a function, as `click.command` does."""
    return click.command(name, **{"cls": Command, **told})


def group(**told: Any) -> Callable[[Callable[..., Any]], Group]:
    """Return what makes a group of a function, as `click.group` does."""
    return click.command(None, **{"cls": Group, **told})
