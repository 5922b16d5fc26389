"""Draw what a command printed as a terminal whose lines appear in their time, in SVG.

    dianka demo | .venv/bin/python -m tools.recording docs/demo.svg

A line that begins with seconds, as those of the demonstration do, appears then, three times as
fast; a line without them appears with the one before. Browsers and GitHub play it once and leave
the last picture; a reader without animation sees all lines.
"""

import re
import sys
from html import escape
from pathlib import Path

_SPEED = 3
_FONT_PX = 13
_LINE_PX = 18
_CHARACTER_PX = 7.85
_MARGIN_PX = 14
_SECONDS = re.compile(r"^ *(\d+\.\d) s  ")
_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<style>
text {{ font: {font}px "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace; fill: #d8dee9;
  white-space: pre; }}
.t {{ animation: show 0.2s both; }}
@keyframes show {{ from {{ opacity: 0; }} }}
@media (prefers-reduced-motion) {{ .t {{ animation: none; }} }}
</style>
<rect width="100%" height="100%" rx="6" fill="#1e222a"/>
"""


def draw(lines: list[str], title: str) -> str:
    """Return the SVG of lines; those behind a time appear at that time."""
    widest = max(map(len, lines), default=0)
    size = {
        "width": round(2 * _MARGIN_PX + widest * _CHARACTER_PX),
        "height": 2 * _MARGIN_PX + len(lines) * _LINE_PX,
    }
    parts = [_HEAD.format(**size, title=escape(title), font=_FONT_PX)]
    after_s = 0.0
    for number, line in enumerate(lines, 1):
        if match := _SECONDS.match(line):
            after_s = float(match[1]) / _SPEED
        place = f'x="{_MARGIN_PX}" y="{_MARGIN_PX + number * _LINE_PX - 5}"'
        delay = f'style="animation-delay:{after_s:.1f}s"'
        parts.append(f'<text class="t" {place} {delay}>{escape(line)}</text>\n')
    return "".join((*parts, "</svg>\n"))


def main() -> None:
    """Draw the lines of the input into the file that is named."""
    lines = [line.rstrip("\n") for line in sys.stdin]
    Path(sys.argv[1]).write_text(draw(["$ make demo", *lines], "make demo"), "utf-8")


if __name__ == "__main__":
    main()
