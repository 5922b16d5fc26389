"""Start here: choose the board, build the concentrator on it and run it."""

import sys

from boards import BoardError, open_board

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concentrator.run import Stepper
    from ports import Board


def main() -> int:
    """Run until interrupted; 2 when the board cannot start, with why in one line."""
    from concentrator import run

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
    return 0


def build(board: "Board") -> "Stepper":
    """The concentrator on `board`, with the board's own card reader if it has one."""
    from concentrator.app import App

    limit, rates = board.capacity
    return App(board, limit, rates, board.card_reader)


if __name__ == "__main__":
    sys.exit(main())
