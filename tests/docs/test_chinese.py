"""Goal: what a station or a technician reads says the same in Chinese as in English.

Method: each section of a Chinese document is held against its English one: the same code, the
same commands, and every figure. What the Chinese leaves to the English document is named.
"""

import re
import unicodedata
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
# English headings, in the order of the Chinese ones.
PAGES = {
    "CARDS": (
        *("The way of the money", "Kinds", "Keys", "What a thief gets"),
        *("A concentrator that lost its books", "Result codes", "Commands"),
    ),
    "PREPAYMENT": (
        *("Refunds", "Doubtful readings", "A worked bill", "An explained bill"),
        *("Money", "Supply"),
    ),
    "HARDWARE": (
        *("Acceptance test", "Lamps, buzzer, button, watchdog", "Log, door, supply, display"),
        *("RS-485", "Card readers", "Bill of materials, one concentrator"),
    ),
}
SECTIONS = [(page, at) for page, names in PAGES.items() for at in range(len(names))]
# What the Chinese leaves out, from these words to the end of the paragraph or block.
_LEFT_OUT = (
    ("`--suite aes` and `--suite sm4` choose AES-CMAC and\nSM4-CMAC. ", "\n\n"),
    ("```mermaid", "```\n"),
    ("### What the console is worth", "### A concentrator that lost"),
)
_CODE = re.compile(r"`([^`]+)`")
_FIGURE = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:[eE]-?\d+)?")


def sections(path: Path) -> dict[str, str]:
    """Return the text below each heading, whatever its level."""
    parts = re.split(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def pair(page: str, at: int) -> tuple[str, str]:
    english = sections(DOCS / f"{page}.md")[PAGES[page][at]]
    for begin, end in _LEFT_OUT:
        if begin in english:
            before, _begin, rest = english.partition(begin)
            english = before + begin[: begin.find(".") + 1] + rest.partition(end)[2]
    if PAGES[page][at] == "Result codes":
        # The English table has both languages; only what it says in Chinese is asked for.
        english = "\n".join(map(_chinese_cells, english.split("\n")))
    chinese = list(sections(DOCS / f"{page}.zh-CN.md").values())[1:]
    assert len(chinese) == len(PAGES[page])
    return english, chinese[at]


def _chinese_cells(line: str) -> str:
    cells = line.split("|")
    return "|".join((*cells[:3], cells[4], *cells[6:])) if len(cells) > 6 else line


def code_of(text: str) -> set[str]:
    return {" ".join(one.split()) for one in _CODE.findall(text)}


def figures_of(text: str) -> set[str]:
    return set(_FIGURE.findall(unicodedata.normalize("NFKC", text)))


@pytest.mark.parametrize(("page", "at"), SECTIONS)
def test_a_section_has_the_code_of_the_english_one(page: str, at: int) -> None:
    english, chinese = pair(page, at)
    assert code_of(chinese) == code_of(english)


@pytest.mark.parametrize(("page", "at"), SECTIONS)
def test_a_section_has_the_figures_of_the_english_one(page: str, at: int) -> None:
    english, chinese = pair(page, at)
    assert figures_of(english) <= figures_of(chinese)


@pytest.mark.parametrize(("page", "at"), SECTIONS)
def test_a_section_has_the_commands_and_the_rows_of_the_english_one(page: str, at: int) -> None:
    english, chinese = pair(page, at)
    commands = [
        re.findall(r"^    (dianka [a-z |-]+?)(?:  |$)", one, re.M) for one in (english, chinese)
    ]
    assert commands[0] == commands[1]
    assert english.count("\n|") == chinese.count("\n|")


def test_the_codes_of_results_have_the_words_of_the_english_page() -> None:
    english, chinese = pair("CARDS", PAGES["CARDS"].index("Result codes"))
    rows = re.findall(r"^\| (?:OK|Err)[^\n]+", english, re.M)
    assert rows == re.findall(r"^\| (?:OK|Err)[^\n]+", chinese, re.M)
    assert len(rows) > 30


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_the_english_one_and_is_named(page: str) -> None:
    assert f"({page}.md)" in (DOCS / f"{page}.zh-CN.md").read_text("utf-8")
    readme = (DOCS.parent / "README.zh-CN.md").read_text("utf-8")
    assert f"(docs/{page}.zh-CN.md)" in readme
