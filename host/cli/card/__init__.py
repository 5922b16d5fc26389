"""`dianka card`: keys, orders, operators' cards, looking at cards, and a card in a reader."""
