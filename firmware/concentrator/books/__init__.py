"""Meters, accounts, tariffs and money: every change is a record before it is an effect."""
