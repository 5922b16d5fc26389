"""The concentrator's files on flash: the journal of records and the checkpoints."""
