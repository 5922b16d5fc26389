"""Prepaid money in whole numbers: tariffs, the ledger and the policy of supply."""
