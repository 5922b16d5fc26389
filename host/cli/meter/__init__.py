"""`dianka meter`: what a technician asks of meters and has them do."""
