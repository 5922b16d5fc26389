"""Where cards are held and what they may do: readers, the programmer, operators' cards."""
