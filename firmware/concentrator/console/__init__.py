"""The technician's console: frames, commands and their words."""
