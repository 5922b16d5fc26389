"""The technician's line: frames, commands and their words."""
