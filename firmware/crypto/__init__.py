"""Hashes, ciphers and MACs that some ports of MicroPython lack."""
