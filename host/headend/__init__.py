"""The head-end: takes the concentrators' records in, stores, accounts and reconciles them."""
