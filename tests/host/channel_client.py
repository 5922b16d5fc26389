"""A channel's program for tests: it signs calls as docs/CHANNELS.md says, with no code of ours."""

import hashlib
import hmac
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 30
BASE = "/api/v1"


@dataclass
class Told:
    """An answer of the interface."""

    status: int
    body: Any

    @property
    def refused(self) -> str:
        """Return the name of the refusal, "": it is none."""
        return str(self.body.get("refused", "")) if isinstance(self.body, dict) else ""


class Client:
    """One channel; `changes` of a call replace its headers after it was signed, None: left out."""

    def __init__(self, url: str, channel: str, secret: str) -> None:
        self.url = url
        self.channel = channel
        self.secret = secret

    def headers(self, method: str, path: str, body: bytes, **told: Any) -> dict[str, str]:
        """Return the headers of a signed call; `told` may have key, moment and nonce."""
        moment = str(told.get("moment") or int(time.time()))
        nonce = told.get("nonce") or secrets.token_hex(12)
        key = told.get("key") or ""
        digest = hashlib.sha256(body).hexdigest()
        text = "\n".join((method, path, moment, nonce, key, digest))
        mac = hmac.new(bytes.fromhex(self.secret), text.encode(), hashlib.sha256).hexdigest()
        found = {"Dianka-Channel": self.channel, "Dianka-Moment": moment, "Dianka-Nonce": nonce}
        found |= {"Dianka-Signature": mac, "Content-Type": "application/json"}
        return {**found, "Idempotency-Key": key} if key else found

    def get(self, path: str, **told: Any) -> Told:
        return self.call("GET", path, None, **told)

    def post(self, path: str, fields: Any, **told: Any) -> Told:
        told.setdefault("key", secrets.token_hex(8))
        return self.call("POST", path, fields, **told)

    def call(
        self,
        method: str,
        path: str,
        fields: Any,
        *,
        changes: Mapping[str, str | None] | None = None,
        sent: bytes | None = None,
        to: str = "",
        **told: Any,
    ) -> Told:
        """Sign a call and send it; `sent` and `to` take the place of what was signed."""
        as_json = b"" if fields is None else fields
        body = as_json if isinstance(as_json, bytes) else json.dumps(fields).encode()
        headers = self.headers(method, BASE + path, body, **told)
        kept = {**headers, **(changes or {})}
        return self.send(
            method,
            to or path,
            body if sent is None else sent,
            {name: value for name, value in kept.items() if value is not None},
        )

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Told:
        request = urllib.request.Request(
            self.url + BASE + path, body or None, dict(headers), method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE_S) as answer:
                return Told(answer.status, _read(answer))
        except urllib.error.HTTPError as error:
            return Told(error.code, _read(error))


def _read(answer: Any) -> Any:
    content = answer.read()
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    return json.loads(content) if is_json else content
