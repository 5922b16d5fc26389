"""Development tools: get MicroPython, build images, hold the rules of the code base."""
