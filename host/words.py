"""The language of what people read: English, or Chinese out of `host/locale`.

A sentence stands in the code in English, inside `_()`. What is to be put into it is named and
formatted afterwards: `_("no account {account}").format(account=account)`. Help of commands and
options is translated when it is shown, by `host.cli.shown`, and needs no mark.
"""

import gettext
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

DOMAIN = "dianka"
FOLDER = Path(__file__).resolve().parent / "locale"
VARIABLE = "DIANKA_LANG"
LANGUAGES = ("en", "zh")

_LOCALES = {"en": "en", "zh": "zh_CN"}
_spoken: list[gettext.NullTranslations] = []
_languages: list[str] = []
# The language of a page that is being made, "": that of the process.
_of_page: ContextVar[str] = ContextVar("_of_page", default="")


def language_wanted() -> str:
    """Return "en" or "zh": what DIANKA_LANG says, else what the system's locale says."""
    for name in (VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return "zh" if os.environ[name].lower().startswith("zh") else "en"
    return "en"


def speak(language: str) -> None:
    """Use a language of LANGUAGES from now on, in this process and in what click says."""
    locale = _LOCALES[language]
    _spoken[:] = [_catalogue(language)]
    _languages[:] = [language]
    # click translates its own words with the functions of the module, which look here.
    os.environ["LANGUAGE"] = locale
    gettext.bindtextdomain(DOMAIN, FOLDER)
    gettext.textdomain(DOMAIN)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Use a language of LANGUAGES in this thread until the end of the block."""
    token = _of_page.set(language)
    try:
        yield
    finally:
        _of_page.reset(token)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, FOLDER, [_LOCALES[language]], fallback=True)


def _(text: str) -> str:
    """Return a sentence in the language that is spoken; the text itself where it has none."""
    return _translations().gettext(text)


def marked(text: str) -> str:
    """Return the text itself, for `_` to translate when it is shown.

    Tables and records that are made before a language is chosen hold their texts so.
    """
    return text


def language_spoken() -> str:
    """Return the language of LANGUAGES that texts are in now."""
    if here := _of_page.get():
        return here
    _translations()
    return _languages[0]


def either(english: str, chinese: str) -> str:
    """Return the one of two texts that is in the language spoken."""
    return chinese if language_spoken() == "zh" else english


def bilingual(english: str, chinese: str) -> str:
    """Return Chinese alone where Chinese is spoken, else English with the Chinese behind it."""
    return either(f"{english} {chinese}".strip(), chinese)


def system_reason(error: BaseException) -> str:
    """Return why a system refused, in the language spoken where it is a common reason."""
    if type(error).__module__.startswith("serial"):
        # pyserial puts words of its own around what the system said.
        error = error.__cause__ or error.__context__ or error
    said = getattr(error, "strerror", None)
    if said is None and len(error.args) == 2 and isinstance(error.args[0], int):
        said = os.strerror(error.args[0])  # termios tells a number and a text
    return _(said) if isinstance(said, str) else str(error)


def ngettext(one: str, many: str, count: int) -> str:
    """Return the first sentence for a count of one, else the second; each translated."""
    return _translations().ngettext(one, many, count)


def _translations() -> gettext.NullTranslations:
    if here := _of_page.get():
        return _catalogue(here)
    if not _spoken:
        speak(language_wanted())
    return _spoken[0]
