"""`dianka headend`: the server, sales, and what the database knows."""
