"""Which commit a proof was run on, and when: what every summary in docs/reliability says."""

import subprocess
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reliability"


def commit_and_date() -> dict[str, str]:
    """Return the commit that is checked out and today, by the names in a summary."""
    command = ("git", "rev-parse", "--short=12", "HEAD")
    told = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout
    return {"commit": told.strip(), "date": date.today().isoformat()}
