"""What the issuer of cards keeps and does: keys, orders to cards, the log of what was written."""
