"""The concentrator: books, storage, lines, cards and console, driven by one step."""
