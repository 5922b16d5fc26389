"""Findings: what does not fit together, open until a person has looked and said why it is well."""

# Kinds that say nothing about the books: `reconcile` ends well with these.
NOTICES = frozenset(("card", "clock"))
