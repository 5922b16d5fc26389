"""What the concentrator keeps on flash: the journal of records and the checkpoint."""
