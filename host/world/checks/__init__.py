"""What always holds in a seeded world; one file a subject."""
