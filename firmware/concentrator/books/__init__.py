"""Meters, accounts, tariffs and money: every change is recorded before it takes effect."""
