"""Start here: choose the board, build the concentrator on it and run it."""

import sys

from boards import BoardError, open_board
from ports import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concentrator.app import App
    from ports import Board


def main() -> int:
    """Run until interrupted, which returns 0.

    Return 2 when the board cannot start, after one line that says why. Return 3 when the flash
    cannot be read: the watchdog is not fed then, so the board restarts and tries again, with the
    second lamp lit.
    """
    try:
        board = open_board(sys.platform)
    except BoardError as error:
        print("dianka:", error)
        return 2
    try:
        # The board's watchdog runs by now: loading takes seconds where nothing is frozen.
        from concentrator import lamps, run

        # boot.py started a slot and is told when the product works; frozen products have no slots.
        boot = sys.modules.get("boot")
        app = build(board)
        board.attach(app)
        run.run(app, board, boot.confirm if boot else None)
    except KeyboardInterrupt:
        print("dianka: stopped")
    except Unreadable as error:
        print("dianka: not started:", error)
        board.signal(lamps.LOOK)
        return 3
    except Exception as error:
        board.fail(error)
        raise
    return 0


def build(board: "Board") -> "App":
    """Return the concentrator on `board`, with the board's own card reader if it has one."""
    board.feed()
    from concentrator.app import App

    board.feed()
    limit, rates = board.capacity
    return App(board, limit, rates, board.card_reader)


if __name__ == "__main__":
    status = main()
    # On a board an exit would restart it without end, so it stays at its prompt with the error.
    if sys.platform in ("linux", "darwin"):
        sys.exit(status)
