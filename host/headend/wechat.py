"""WeChat Pay, API v3: Native payments, of which the payer scans a code.

The station signs each request with its own RSA key, and WeChat Pay signs answers and
notifications with the key of which `Wechatpay-Serial` has the serial: SHA256 with RSA over moment,
nonce and body, each with a line feed. A notification has its fields encrypted by AES-256-GCM under
the APIv3 key. Written from the public documents at pay.weixin.qq.com, and tried against a stand-in
alone.
"""

import base64
import csv
import hashlib
import hmac
import io
import json
import secrets
import time
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from host.headend import provider_settings
from host.headend.errors import Declined, StoreError
from host.headend.provider_settings import BILL_LIMIT, Answer, Settings, strange
from host.headend.providers import (
    Access,
    Known,
    Paid,
    Wanted,
    bad_line,
    checked,
    not_genuine,
    not_of_ours,
    not_readable,
    paid_back,
    text_of,
)
from host.units import fen_of
from host.words import _, marked

WECHAT = marked("wechat")
_NAMES = ("appid", "mchid", "serial", "api_v3_key")
_ZONE = ZoneInfo("Asia/Shanghai")
_WINDOW_S = 300
_V3_KEY_SIZE = 32
_OK, _NOT_THERE = 200, 404
_DONE_STATUSES = (200, 204)
_OVER = ("CLOSED", "REVOKED", "PAYERROR", "REFUND")
# Columns of a statement, whose order may change.
_TIME, _NUMBER, _REFERENCE = "交易时间", "微信订单号", "商户订单号"
_STATE, _MONEY, _CURRENCY = "交易状态", "订单金额", "货币种类"
_REFUND_NUMBER, _REFUNDED = "微信退款单号", "申请退款金额"
_SUMS = "总交易单数"


class WeChat:
    """The adapter of WeChat Pay."""

    has_settings = True

    def check(self, access: Access) -> None:
        settings = _settings(access)
        if len(settings["api_v3_key"].encode()) != _V3_KEY_SIZE:
            raise StoreError(
                _("{path}: the api_v3_key has 32 characters").format(path=settings.path)
            )

    def begin(self, access: Access, wanted: Wanted) -> str:
        settings = _settings(access)
        expires = datetime.fromtimestamp(wanted.expires_at, _ZONE)
        told = {
            "appid": settings["appid"],
            "mchid": settings["mchid"],
            "description": _("electricity"),
            "out_trade_no": wanted.reference,
            "time_expire": expires.isoformat(timespec="seconds"),
            "notify_url": settings["notify_url"],
            "amount": {"total": wanted.amount_fen, "currency": "CNY"},
        }
        answer = _call(settings, "POST", "/v3/pay/transactions/native", told)
        if answer.status != _OK:
            raise provider_settings.refused(answer.fields().get("code", answer.status))
        code = answer.fields().get("code_url")
        if not isinstance(code, str) or not code:
            raise strange()
        return code

    def ask(self, access: Access, reference: str) -> Known:
        settings = _settings(access)
        path = f"/v3/pay/transactions/out-trade-no/{reference}?mchid={settings['mchid']}"
        answer = _call(settings, "GET", path)
        if answer.status == _NOT_THERE:
            return Known(is_over=True)
        if answer.status != _OK:
            raise provider_settings.refused(answer.fields().get("code", answer.status))
        told = answer.fields()
        if told.get("out_trade_no") != reference:
            raise strange()
        if told.get("trade_state") == "SUCCESS":
            return Known(_paid(settings, told))
        return Known(is_over=told.get("trade_state") in _OVER)

    def notice_of(self, access: Access, headers: Mapping[str, str], body: bytes) -> Paid | None:
        settings = _settings(access)
        _check_signed(settings, headers, body)
        try:
            told = json.loads(body)
            if told["event_type"] != "TRANSACTION.SUCCESS":
                return None
            content = json.loads(_opened(settings, told["resource"]))
            if content["trade_state"] != "SUCCESS":
                return None
            return _paid(settings, content)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, Declined):
                raise
            raise not_readable() from error

    def taken(self) -> tuple[str, bytes]:
        return "application/json", b'{"code": "SUCCESS"}'

    def bill(self, access: Access, day: date) -> bytes:
        settings = _settings(access)
        path = f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL"
        answer = _call(settings, "GET", path)
        if answer.status != _OK:
            raise provider_settings.refused(answer.fields().get("code", answer.status))
        told = answer.fields()
        url = str(told.get("download_url"))
        headers = _signed_headers(settings, "GET", url, b"")
        # The file itself is not signed: the signed answer before has its digest.
        found = provider_settings.call(settings, "GET", url, headers=headers, limit=BILL_LIMIT)
        digest = hashlib.sha1(found.body, usedforsecurity=False).hexdigest()
        if found.status != _OK or not hmac.compare_digest(
            digest.encode(), str(told.get("hash_value")).encode()
        ):
            raise strange()
        return found.body

    def lines_of(self, content: bytes) -> list[Paid]:
        rows = csv.reader(io.StringIO(text_of(content, "utf-8-sig")))
        names = [name.strip() for name in next(rows, [])]
        found: list[Paid] = []
        for at, cells in enumerate(rows, 2):
            if cells and cells[0].strip() == _SUMS:
                return found
            if not cells:
                continue
            try:
                row = dict(zip(names, (one.strip().lstrip("`") for one in cells), strict=True))
                found.append(_line(row))
            except (ValueError, KeyError) as error:
                raise bad_line(at) from error
        raise StoreError(_("the statement is cut off: it has no sums at its end"))


def _line(row: Mapping[str, str]) -> Paid:
    moment = datetime.strptime(row[_TIME], "%Y-%m-%d %H:%M:%S").replace(tzinfo=_ZONE)
    told = (row[_REFERENCE], int(moment.timestamp()), row[_CURRENCY])
    if row[_STATE] == "SUCCESS":
        return checked(row[_NUMBER], told[0], fen_of(row[_MONEY]), *told[1:])
    number, money = row[_REFUND_NUMBER], row[_REFUNDED]
    return paid_back(checked(number, told[0], fen_of(money), *told[1:]))


def _settings(access: Access) -> Settings:
    return provider_settings.load(access.settings, _NAMES)


def _paid(settings: Settings, told: Mapping[str, Any]) -> Paid:
    """Return what a transaction says was paid. Declined: it is of another merchant."""
    if (told.get("mchid"), told.get("appid")) != (settings["mchid"], settings["appid"]):
        raise not_of_ours()
    try:
        moment = datetime.fromisoformat(told["success_time"])
        amount = told["amount"]
        money = (amount["total"], int(moment.timestamp()), amount.get("currency", "CNY"))
        return checked(told["transaction_id"], told["out_trade_no"], *money)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_readable() from error


def _call(
    settings: Settings, method: str, path: str, told: Mapping[str, Any] | None = None
) -> Answer:
    """Return an answer that WeChat Pay has signed. Declined: it has not, or there is none."""
    body = b"" if told is None else json.dumps(told, ensure_ascii=False).encode()
    url = settings["gateway"].rstrip("/") + path
    headers = _signed_headers(settings, method, url, body)
    answer = provider_settings.call(settings, method, url, body, headers)
    if answer.status in _DONE_STATUSES:
        try:
            _check_signed(settings, answer.headers, answer.body)
        except Declined as error:
            raise strange() from error
    return answer


def _signed_headers(settings: Settings, method: str, url: str, body: bytes) -> dict[str, str]:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    moment, nonce = str(int(time.time())), secrets.token_hex(16)
    text = f"{method}\n{path}\n{moment}\n{nonce}\n{body.decode()}\n"
    fields = {
        "mchid": settings["mchid"],
        "nonce_str": nonce,
        "signature": settings.sign(text),
        "timestamp": moment,
        "serial_no": settings["serial"],
    }
    told = ",".join(f'{name}="{value}"' for name, value in fields.items())
    return {
        "Authorization": f"WECHATPAY2-SHA256-RSA2048 {told}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": "dianka",
    }


def _check_signed(settings: Settings, headers: Mapping[str, str], body: bytes) -> None:
    """Raise Declined where a notification or an answer is not of WeChat Pay, or is old."""
    moment = headers.get("Wechatpay-Timestamp") or ""
    nonce = headers.get("Wechatpay-Nonce") or ""
    key = settings.keys.get(headers.get("Wechatpay-Serial") or "")
    if key is None:
        raise Declined(
            "unknown_key",
            _("it is signed with a key that the settings of this provider do not have"),
        )
    content = f"{moment}\n{nonce}\n".encode() + body + b"\n"
    signature = headers.get("Wechatpay-Signature") or ""
    if not provider_settings.is_signed(key, signature, content):
        raise not_genuine()
    if not moment.isdecimal() or abs(int(time.time()) - int(moment)) > _WINDOW_S:
        raise Declined("expired", _("the notification is old, or the station's clock is wrong"))


def _opened(settings: Settings, resource: Mapping[str, Any]) -> bytes:
    """Return the plain content of a notification. Declined: it is not encrypted for us."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if resource["algorithm"] != "AEAD_AES_256_GCM":
        raise not_readable()
    try:
        return AESGCM(settings["api_v3_key"].encode()).decrypt(
            resource["nonce"].encode(),
            base64.b64decode(resource["ciphertext"], validate=True),
            str(resource.get("associated_data") or "").encode(),
        )
    except InvalidTag as error:
        raise not_genuine() from error
