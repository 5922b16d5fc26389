"""Boards: the only code that touches machine, os, network and time."""
