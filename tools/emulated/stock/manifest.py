"""What a board has before anything is installed: the mounting of its flash."""

module("_boot.py")  # noqa: F821 - the build defines it
