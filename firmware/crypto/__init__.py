"""Hashes, ciphers and MACs, without IO: what the ports of MicroPython lack or hide."""
