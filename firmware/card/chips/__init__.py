"""Drivers of card chips. Each is given its pins or its bus; none knows a board."""
