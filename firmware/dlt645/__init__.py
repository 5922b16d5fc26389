"""DL/T 645-2007 and -1997, the master's side: bytes and a time in, bytes and outcomes out."""
