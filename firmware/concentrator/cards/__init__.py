"""Cards: the reader on the far side of the console, the programmer, and operators' cards."""
