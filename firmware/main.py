"""Start here: choose the board, build the concentrator on it and run it."""

import sys

from boards import BoardError, module_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> int:
    """Run until interrupted; 2 when the board cannot start, with why in one line."""
    from concentrator import run

    try:
        board = module_of(sys.platform).Board()
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


def build(board: "Any") -> "Any":
    """The concentrator on `board`, with the board's own card reader if it has one."""
    from concentrator.app import App

    carrier = None
    if board.card is not None:
        from card.chips.local import LocalCarrier
        from card.chips.sle4442 import Sle4442

        carrier = LocalCarrier(Sle4442(*board.card), board.show_card)
    limit, rates = board.capacity
    return App(board, limit, rates, carrier)


if __name__ == "__main__":
    sys.exit(main())
