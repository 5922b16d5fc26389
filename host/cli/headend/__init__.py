"""`dianka headend`: the server, sales, and reports from the database."""
