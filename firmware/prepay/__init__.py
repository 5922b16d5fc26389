"""Prepaid money, integers only: tariffs, the ledger, the policy of supply."""
