"""Start here: choose the board, build the concentrator on it and run it."""

import sys

from boards import COMPUTERS, BoardError, is_held, open_board
from ports import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from concentrator.app import App
    from ports import Board


def main() -> int:
    """Run until interrupted, which returns 0.

    Return 2 after one line when the board cannot start, or an installer's file `hold` says that
    this start starts nothing. Return 3 when the flash cannot be read: the watchdog is not fed
    then, so the board restarts and tries again, with the second lamp lit.
    """
    if is_held(sys.platform):
        print("dianka: held at the prompt; the next start runs")
        return 2
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
        app.books.note_product(*product_of(boot))
        if boot is not None and boot.running:
            import update

            app.board_commands.append(update.commands_of(boot, board))
        board.attach(app)

        def report() -> None:
            if boot is not None and boot.confirm(app.books.product[1]):
                app.books.note_healthy()

        run.run(app, board, report)
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


def product_of(boot: "Any") -> "tuple[tuple[int, int, bytes, bytes], bool]":
    """Return the product that runs, as FIRMWARE records tell it, and whether it is on trial.

    That of an image has its version only.
    """
    from concentrator.uplink import VERSION

    if boot is not None and boot.product[2]:
        return boot.product, boot.running != "" and boot.trial()[0] == boot.running
    return (0, 0, b"", VERSION), False


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
    if sys.platform in COMPUTERS:
        sys.exit(status)
