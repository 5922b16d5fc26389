"""Bytes to a device and back: a serial line or a socket, its console, its card reader."""
