"""From the journal to the head-end: framing, records, batches, authentication, the session."""
