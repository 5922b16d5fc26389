"""The tasks of a line with meters: what is asked, when, and what becomes of the replies."""
