"""Goal: each key opens what it should and no more, and a version that ends is told of before.

Method: key files as the commands make them, and a console of a concentrator on a socket.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from host.cards import keystore
from host.frames.session import read_key
from tests.host.card_desk import served
from tests.host.test_card_cli import console_key_of, desk_for, issue, run, shop

__all__ = ["shop"]
PASSPHRASE = "correct horse battery"
OPENED = {"DIANKA_CARD_PASSPHRASE": PASSPHRASE}


def test_a_console_key_opens_one_concentrator(shop: Path) -> None:
    """A thief of concentrator 8 has its key, which is another one than that of concentrator 7."""
    assert console_key_of(shop, 7) != console_key_of(shop, 8)
    named = ("--out", "8.toml", "--concentrator", 8)
    assert run("keys", "console", *named, **OPENED).exit_code == 0
    one = desk_for(shop)
    one.login.key = console_key_of(shop, 7)
    with served(one) as port:
        done = run("unlock", "--port", port, "--console-keys", "8.toml", **OPENED)
        assert (done.exit_code, "does not open concentrator 7" in done.output) == (1, True)
        one.login.number, one.settings["id"] = 8, "8"
        done = run("unlock", "--port", port, "--console-keys", "8.toml", **OPENED)
        assert (done.exit_code, "does not have this console key" in done.output) == (1, True)
        one.login.key = console_key_of(shop, 8)
        assert run("unlock", "--port", port, "--console-keys", "8.toml", **OPENED).exit_code == 0
    assert run("issue", "--file", "x.bin", "--keys", "8.toml", **OPENED).exit_code != 0


def test_a_read_only_file_changes_nothing(shop: Path) -> None:
    named = ("--out", "clerk.toml", "--concentrator", 7, "--read-only")
    assert run("keys", "console", *named, **OPENED).exit_code == 0
    held = keystore.load_consoles(Path("clerk.toml"), lambda: PASSPHRASE)
    assert held.read_only
    assert held.console_key(4711, 7, 1) == read_key(console_key_of(shop))
    one = desk_for(shop)
    one.login.key = console_key_of(shop)
    with served(one) as port:
        done = run("unlock", "--port", port, "--console-keys", "clerk.toml", **OPENED)
    assert (done.exit_code, "log in with the console key" in done.output) == (1, True)


def test_a_counters_file_opens_no_console(shop: Path) -> None:
    """Whoever opens a counter's laptop makes cards within its limits, and gets no console key."""
    assert run("keys", "hand-down", "--out", "counter.toml", **OPENED).exit_code == 0
    held = keystore.load(Path("counter.toml"), lambda: PASSPHRASE)
    with pytest.raises(keystore.KeystoreError, match="opens no console"):
        held.console_key(4711, 7, 1)
    one = desk_for(shop)
    one.login.key = console_key_of(shop)
    with served(one) as port:
        done = run("unlock", "--port", port, "--keys", "counter.toml", **OPENED)
        assert (done.exit_code, "opens no console" in done.output) == (1, True)
    old = f'[card]\ndistrict = 4711\nkey_version = 1\ndistrict_key = "{"00" * 16}"\n'
    Path("old.toml").write_text(f'{old}console_key = "{"00" * 16}"\n')
    with pytest.raises(keystore.KeystoreError, match="have a new file handed down"):
        keystore.load(Path("old.toml"), lambda: "")


def test_a_console_key_ends_with_its_version(shop: Path) -> None:
    """Who had an old console key is no concentrator any more, and opens none with the new one."""
    assert run("keys", "console", "--concentrator", 7, "--out", "t.toml", **OPENED).exit_code == 0
    one = desk_for(shop)
    one.login.key = console_key_of(shop)
    done = run("keys", "advance", "--console", "--yes")
    assert (done.exit_code, "console key version 2" in done.output) == (0, True)
    with served(one) as port:
        done = run("unlock", "--port", port)
        assert (done.exit_code, "version 1, and 2 is in use" in done.output) == (1, True)
        done = run("keys", "install", "--port", port)
        assert done.exit_code == 0, done.output
        assert one.settings["console_key"] == console_key_of(shop, version=2).hex()
        one.login.key = console_key_of(shop, version=2)
        assert run("unlock", "--port", port).exit_code == 0
        assert run("unlock", "--port", port, "--console-keys", "t.toml", **OPENED).exit_code == 1
    # An installation ended between the key's version and the key: the older one is tried.
    held = keystore.load(shop / "card-keys.toml", lambda: "")
    one.login.key = replace(held, console_version=1).console_key(4711, 7, 1)
    with served(one) as port:
        assert run("keys", "install", "--port", port).exit_code == 0


def test_advance_asks_and_can_be_taken_back(shop: Path) -> None:
    assert issue(1).exit_code == 0
    done = run("keys", "advance", given="n\n")
    assert done.exit_code == 1
    assert "cards of version 1 are worth nothing until they are issued anew (1 by" in done.output
    assert version_of(shop) == 1
    assert run("keys", "advance", given="y\n").exit_code == 0
    assert version_of(shop) == 2
    done = run("keys", "advance", "--back", "--yes")
    assert (done.exit_code, version_of(shop)) == (0, 1)
    assert run("keys", "advance", "--yes").exit_code == 0
    assert issue(2, file="other.bin").exit_code == 0
    done = run("keys", "advance", "--back", "--yes")
    assert (done.exit_code, version_of(shop)) == (1, 2)
    assert "1 cards were made under key version 2" in done.output
    assert run("keys", "advance", "--console", "--back", "--yes").exit_code == 1


def version_of(shop: Path) -> int:
    return keystore.load(shop / "card-keys.toml", lambda: "").key_version
