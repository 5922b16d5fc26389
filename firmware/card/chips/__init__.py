"""Drivers of card chips. Each gets its pins or its bus and depends on no board."""
