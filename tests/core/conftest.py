"""Let pytest find `harness` and the vectors of the core tests as the runner does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
