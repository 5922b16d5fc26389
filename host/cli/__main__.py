"""`python -m host.cli`: the `dianka` command without its script."""

from host.cli import main

main()
