"""Start here: choose the board, build the concentrator on it and run it."""

import sys

from boards import BoardError, open_board
from ports import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concentrator.run import Stepper
    from ports import Board


def main() -> int:
    """Run until interrupted; 2 when the board cannot start, with why in one line.

    3: what is on flash cannot be read. Nobody feeds the watchdog then, so the start is tried
    again; the second lamp is lit until it succeeds.
    """
    from concentrator import lamps, run

    try:
        board = open_board(sys.platform)
    except BoardError as error:
        print("dianka:", error)
        return 2
    try:
        # Who started us from a slot wants to know that it works; a frozen product has no slots.
        boot = sys.modules.get("boot")
        run.run(build(board), board, boot.confirm if boot else None)
    except KeyboardInterrupt:
        print("dianka: stopped")
    except Unreadable as error:
        print("dianka: not started:", error)
        board.signal(lamps.LOOK)
        return 3
    return 0


def build(board: "Board") -> "Stepper":
    """The concentrator on `board`, with the board's own card reader if it has one."""
    from concentrator.app import App

    limit, rates = board.capacity
    return App(board, limit, rates, board.card_reader)


if __name__ == "__main__":
    sys.exit(main())
