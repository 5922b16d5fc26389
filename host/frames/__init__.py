"""Parsers and builders of every byte format, independent of the firmware."""
