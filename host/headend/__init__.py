"""The head-end receives the concentrators' records, stores, accounts and reconciles them."""
