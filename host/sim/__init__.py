"""Simulated meters, lines, storage and head-end: the world around a concentrator."""
