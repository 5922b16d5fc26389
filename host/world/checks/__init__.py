"""The invariants of a seeded world, with one file for each subject."""
