"""Let all tests read English, independent of the machine's language."""

import os

os.environ["DIANKA_LANG"] = "en"
# Nor does any test read what a user of this machine has written down.
os.environ["DIANKA_CONFIG"] = os.devnull
