"""The process that tells households: it looks for what has happened, and sends notices of it."""
