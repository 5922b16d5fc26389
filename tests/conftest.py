"""All tests read English, whatever language the machine speaks."""

import os

os.environ["DIANKA_LANG"] = "en"
