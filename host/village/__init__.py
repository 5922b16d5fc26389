"""A simulated village in a head-end's database, as if its concentrators had sent every record."""
