"""The way from the journal to the head-end: records, groups, frames, MACs and the session."""
