"""The process of the pages, which the head-end starts and which ends with it.

python -m host.headend.web HOST PORT DATABASE [simple] [https]
"""

import logging
import sys
import threading
import time

from host import children
from host.headend import payments
from host.headend.errors import StoreError
from host.headend.logs import warn_as_text
from host.headend.store import Store
from host.headend.web.meters import tariffs
from host.headend.web.site import Site, application

_THREADS = 8
_ASK_PAUSE_S = 20

log = logging.getLogger("dianka.headend")


def main(host: str, port: str, database: str, *words: str) -> None:
    """Serve until the standard input ends; tell the address, or why it cannot be had."""
    from waitress.server import create_server

    warn_as_text()
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a full queue is no trouble
    told = Site(database, host, "simple" in words, "https" in words)
    answering = application(told)
    try:
        server = create_server(answering, host=host, port=int(port), threads=_THREADS, ident=None)
    except OSError as error:
        children.say(str(error.strerror))
        return
    children.end_with_parent()
    threading.Thread(target=_warm, daemon=True).start()
    threading.Thread(target=_ask_providers, args=(database,), daemon=True).start()
    children.say(f"http://{host}:{server.effective_port}")
    server.run()


def _warm() -> None:
    """Do soon what the first person of the day would wait for: modules, templates, tariffs."""
    from django.template import engines
    from django.urls import get_resolver

    get_resolver().check()
    environment = engines["jinja2"].env
    for name in environment.list_templates():
        environment.get_template(name)
    tariffs()


def _ask_providers(database: str) -> None:
    """Ask providers, as long as the process lives, for payments that no notification has told."""
    while True:
        time.sleep(_ASK_PAUSE_S)
        try:
            with Store(database) as store:
                payments.ask_waiting(store, int(time.time()))
        except StoreError as error:  # the head-end is busy or ends: the next time
            log.warning("payments were not asked for: %s", error)
        except Exception:  # one bad payment must not end the asking for all others
            log.exception("payments were not asked for")


if __name__ == "__main__":
    main(*sys.argv[1:])
