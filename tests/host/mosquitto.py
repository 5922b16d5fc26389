"""A broker of Debian's mosquitto with passwords, an ACL and TLS, and its own client."""

import datetime
import os
import shutil
import socket
import subprocess
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "only for this test"
_PATIENCE_S = 30
_ACL = """\
user dianka
topic write homeassistant/device/#
topic write dianka/#
topic read dianka/#
user house
topic read homeassistant/#
topic read dianka/#
"""


def program(name: str) -> str:
    """Return where a program is; the test is skipped without it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"no {name}: apt install mosquitto mosquitto-clients")
    return found


def certificate(folder: Path) -> None:
    """Write cert.pem and key.pem of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class Mosquitto:
    """A broker on a port of TLS; it retains in memory alone, so it starts again empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = program("mosquitto")
        certificate(folder)
        self.authority = folder / "cert.pem"
        passwords = folder / "passwords"
        for user in ("dianka", "house"):
            options = ["-b", *([] if passwords.exists() else ["-c"])]
            words = [*options, str(passwords), user, PASSWORD]
            subprocess.run([program("mosquitto_passwd"), *words], check=True)
        (folder / "acl").write_text(_ACL)
        for name in ("passwords", "acl", "key.pem"):
            (folder / name).chmod(0o600)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        lines = (
            f"user {os.environ.get('USER', 'root')}",
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            f"acl_file {folder / 'acl'}",
            f"certfile {self.authority}",
            f"keyfile {folder / 'key.pem'}",
            "persistence false",
        )
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self._folder / "mosquitto.log").open("ab") as log:
            words = [self._program, "-c", str(self._folder / "mosquitto.conf")]
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, self.log()
                time.sleep(0.05)
            else:
                return
        raise AssertionError(self.log())

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return (self._folder / "mosquitto.log").read_text()

    def watch(self, *topics: str) -> "subprocess.Popen[str]":
        """Start mosquitto's own client, which writes each message as a line: topic and text."""
        words = ["-h", "127.0.0.1", "-p", str(self.port), "--cafile", str(self.authority)]
        words += ["-u", "house", "-P", PASSWORD, "-F", "%t %p", "-W", str(_PATIENCE_S * 2)]
        for topic in topics:
            words += ["-t", topic]
        return subprocess.Popen(
            [program("mosquitto_sub"), *words], stdout=subprocess.PIPE, text=True
        )


def messages_until(watching: "subprocess.Popen[str]", *topics: str) -> dict[str, str]:
    """Return the newest text of each topic, once all of `topics` have come."""
    found: dict[str, str] = {}
    assert watching.stdout is not None
    while not set(topics) <= set(found):
        line = watching.stdout.readline()
        assert line, found
        topic, _space, text = line.rstrip("\n").partition(" ")
        found[topic] = text
    return found
