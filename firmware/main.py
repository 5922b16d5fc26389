"""Start here: choose the board, build the concentrator on it and run it."""

import sys

from boards import BoardError, module_of


def main() -> int:
    """Run until interrupted; 2 when the board cannot start, with why in one line."""
    from concentrator import run
    from concentrator.app import App

    try:
        board = module_of(sys.platform).Board()
    except BoardError as error:
        print("dianka:", error)
        return 2
    try:
        run.run(App(board, *board.capacity), board)
    except KeyboardInterrupt:
        print("dianka: stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
