"""Let all tests read English, independent of the machine's language."""

import os

os.environ["DIANKA_LANG"] = "en"
