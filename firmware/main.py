"""Start here: choose the board, build the concentrator on it and run it."""

import sys


def main() -> int:
    """Run until interrupted; 2 for the user's mistake, in one line."""
    from boards.unix import Board, BoardError

    try:
        board = Board()
    except BoardError as error:
        print("dianka:", error, file=sys.stderr)
        return 2
    from concentrator import run
    from concentrator.app import App

    app = App(board)
    try:
        run.run(app, board)
    except KeyboardInterrupt:
        print("dianka: stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
