"""The station's pages: made on the server, for a browser at the counter, a phone, or a printer."""
