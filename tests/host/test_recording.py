"""Goal: the recording in the README shows the demonstration as it runs, in every browser.

Method: lines with times are drawn and read as XML; the recording is held against what the
demonstration says today.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

from tools.recording import draw

ROOT = Path(__file__).resolve().parents[2]


def texts(svg: str) -> list[tuple[str, str]]:
    """Return the lines, each with its style."""
    found = ElementTree.fromstring(svg)
    return [(one.text or "", one.get("style", "")) for one in found if one.tag.endswith("text")]


def test_a_line_appears_at_its_time() -> None:
    svg = draw(["$ x", "  3.0 s  <a> & b", "its table", "  6.0 s  电"], "x & y")
    assert texts(svg) == [
        ("$ x", "animation-delay:0.0s"),
        ("  3.0 s  <a> & b", "animation-delay:1.0s"),
        ("its table", "animation-delay:1.0s"),
        ("  6.0 s  电", "animation-delay:2.0s"),
    ]


def test_the_recording_shows_what_the_demonstration_says() -> None:
    lines = [text for text, _style in texts((ROOT / "docs" / "demo.svg").read_text("utf-8"))]
    said = [re.sub(r"^ *[\d.]+ s  ", "", line) for line in lines if " s  " in line]
    story = (ROOT / "host" / "demo" / "story.py").read_text("utf-8")
    # What changes from day to day stands between braces.
    sentences = [re.sub(r"\{[^}]*\}", ".+", one) for one in re.findall(r'_\("([^"]+)"', story)]
    known = [line for line in said if any(re.match(one, line) for one in sentences)]
    assert len(known) > 6, said
