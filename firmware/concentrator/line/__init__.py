"""The tasks of a line with meters: their questions, their order and their replies."""
