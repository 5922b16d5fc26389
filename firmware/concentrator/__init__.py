"""The concentrator: registry, poller, journal, console and the one step that decides."""
