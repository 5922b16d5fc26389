"""Alipay: payments of which the payer scans a code (alipay.trade.precreate).

Everything goes to one gateway as a form, signed with the station's RSA key over its sorted fields
(RSA2: SHA256 with RSA). Alipay signs the object in its answer, and the sorted fields of its
notifications. Written from the public documents at opendocs.alipay.com, and tried against a
stand-in alone.
"""

import csv
import io
import json
import re
import time
import zipfile
import zlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from host.headend import provider_settings
from host.headend.errors import Declined, StoreError
from host.headend.provider_settings import BILL_LIMIT, Settings, strange
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
from host.units import fen_of, yuan
from host.words import _, marked

ALIPAY = marked("alipay")
_NAMES = ("app_id", "seller_id")
_KEY = "alipay"  # the only key of Alipay's that a station has
_ZONE = ZoneInfo("Asia/Shanghai")
_TIME = "%Y-%m-%d %H:%M:%S"
_OK, _DONE = 200, "10000"
_NOT_THERE = "ACQ.TRADE_NOT_EXIST"
_PAID = ("TRADE_SUCCESS", "TRADE_FINISHED")
# Alipay repeats a notification for 25 hours, with the moment of the first one.
_WINDOW_S = 26 * 3600
_FIELDS_LIMIT = 100
_ENCODING = "gb18030"
_NUMBER, _REFERENCE, _KIND = "支付宝交易号", "商户订单号", "业务类型"
_ENDED, _MONEY, _REFUND = "完成时间", "订单金额（元）", "退款批次号/请求号"
_PAYMENT = "交易"
_END = "业务明细列表结束"


class Alipay:
    """The adapter of Alipay."""

    has_settings = True

    def check(self, access: Access) -> None:
        settings = _settings(access)
        if _KEY not in settings.keys:
            raise StoreError(
                _("{path}: its [provider_keys] has a line {name} = FILE").format(
                    path=settings.path, name=_KEY
                )
            )

    def begin(self, access: Access, wanted: Wanted) -> str:
        settings = _settings(access)
        told = {
            "out_trade_no": wanted.reference,
            "total_amount": yuan(wanted.amount_fen),
            "subject": _("electricity"),
            "time_expire": datetime.fromtimestamp(wanted.expires_at, _ZONE).strftime(_TIME),
        }
        answer = _call(settings, "alipay.trade.precreate", told)
        code = answer.get("qr_code")
        if answer.get("code") != _DONE:
            raise _refused(answer)
        if not isinstance(code, str) or not code:
            raise strange()
        return code

    def ask(self, access: Access, reference: str) -> Known:
        answer = _call(_settings(access), "alipay.trade.query", {"out_trade_no": reference})
        if answer.get("sub_code") == _NOT_THERE:
            return Known()  # it is made when the payer scans the code
        if answer.get("code") != _DONE:
            raise _refused(answer)
        if answer.get("out_trade_no") != reference:
            raise strange()
        state = answer.get("trade_status")
        if state in _PAID:
            return Known(_paid(answer, answer.get("send_pay_date")))
        return Known(is_over=state == "TRADE_CLOSED")

    def notice_of(self, access: Access, headers: Mapping[str, str], body: bytes) -> Paid | None:
        settings = _settings(access)
        try:
            pairs = parse_qsl(
                body.decode(), True, True, encoding="utf-8", max_num_fields=_FIELDS_LIMIT
            )
        except ValueError as error:
            raise not_readable() from error
        told = dict(pairs)
        _check_signed(settings, told, len(pairs))
        if (told.get("app_id"), told.get("seller_id")) != (
            *(settings["app_id"], settings["seller_id"]),
        ):
            raise not_of_ours()
        if told.get("trade_status") not in _PAID or "refund_fee" in told:
            return None
        return _paid(told, told.get("gmt_payment"))

    def taken(self) -> tuple[str, bytes]:
        return "text/plain", b"success"

    def bill(self, access: Access, day: date) -> bytes:
        settings = _settings(access)
        told = {"bill_type": "trade", "bill_date": day.isoformat()}
        answer = _call(settings, "alipay.data.dataservice.bill.downloadurl.query", told)
        if answer.get("code") != _DONE:
            raise _refused(answer)
        url = str(answer.get("bill_download_url"))
        found = provider_settings.call(settings, "GET", url, limit=BILL_LIMIT)
        if found.status != _OK:
            raise strange()
        return found.body

    def lines_of(self, content: bytes) -> list[Paid]:
        text = text_of(_unpacked(content), _ENCODING)
        found: list[Paid] = []
        names: list[str] = []
        for at, cells in enumerate(csv.reader(io.StringIO(text)), 1):
            row = [one.strip() for one in cells]
            if row and row[0].startswith("#"):
                if _END in row[0]:
                    return found
                continue
            if not names:
                names = row
                continue
            try:
                found.append(_line(dict(zip(names, row, strict=True))))
            except (ValueError, KeyError) as error:
                raise bad_line(at) from error
        raise StoreError(_("the statement is cut off: it has no line of its end"))


def _line(row: Mapping[str, str]) -> Paid:
    paid_at = _moment(row[_ENDED])
    if row[_KIND] == _PAYMENT:
        return checked(row[_NUMBER], row[_REFERENCE], fen_of(row[_MONEY]), paid_at)
    number = row.get(_REFUND) or f"{row[_NUMBER]}-{paid_at}"
    return paid_back(checked(number, row[_REFERENCE], fen_of(row[_MONEY].lstrip("-")), paid_at))


def _unpacked(content: bytes) -> bytes:
    """Return the list of payments of a ZIP file as Alipay sends it. StoreError: it has none."""
    if not content.startswith(b"PK"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content), metadata_encoding="gbk") as file:
            for one in file.infolist():
                if "汇总" not in one.filename and one.file_size <= BILL_LIMIT:
                    with file.open(one) as member:
                        return member.read(BILL_LIMIT)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError) as error:
        raise StoreError(_("cannot read the statement: it is no whole ZIP file")) from error
    raise StoreError(_("cannot read the statement: the ZIP file has no list of payments"))


def _settings(access: Access) -> Settings:
    return provider_settings.load(access.settings, _NAMES)


def _moment(text: object) -> int:
    """Return a moment of Alipay's clock in seconds since 1970. ValueError: it is none."""
    return int(datetime.strptime(str(text), _TIME).replace(tzinfo=_ZONE).timestamp())


def _paid(told: Mapping[str, Any], moment: object) -> Paid:
    try:
        money = (
            fen_of(told["total_amount"]),
            _moment(moment),
            told.get("trans_currency") or "CNY",
        )
        return checked(told["trade_no"], told["out_trade_no"], *money)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_readable() from error


def _refused(answer: Mapping[str, Any]) -> Declined:
    return provider_settings.refused(answer.get("sub_code") or answer.get("code"))


def _joined(told: Mapping[str, Any]) -> str:
    """Return what is signed: the fields by name, but those without a value."""
    return "&".join(f"{name}={told[name]}" for name in sorted(told) if told[name] != "")


def _call(settings: Settings, method: str, content: Mapping[str, str]) -> dict[str, Any]:
    """Return the object of an answer that Alipay has signed. Declined: it has not."""
    told = {
        "app_id": settings["app_id"],
        "method": method,
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": datetime.now(_ZONE).strftime(_TIME),
        "version": "1.0",
        "notify_url": settings["notify_url"],
        "biz_content": json.dumps(content, ensure_ascii=False),
    }
    body = urlencode({**told, "sign": settings.sign(_joined(told))}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
    answer = provider_settings.call(settings, "POST", settings["gateway"], body, headers)
    if answer.status != _OK:
        raise provider_settings.silent()
    return _signed_object(settings, answer.body, method.replace(".", "_") + "_response")


def _signed_object(settings: Settings, body: bytes, name: str) -> dict[str, Any]:
    """Return the object of an answer. The signature is over its very characters."""
    try:
        text = body.decode()
        whole = json.loads(text)
        found = re.search(rf'"({name}|error_response)"\s*:\s*', text)
        if found is None:
            raise strange()
        told, end = json.JSONDecoder().raw_decode(text, found.end())
        signed = text[found.end() : end].encode()
        sign = str(whole.get("sign", ""))
    except Declined:
        raise
    except (ValueError, AttributeError) as error:
        raise strange() from error
    if not isinstance(told, dict) or not _is_of_alipay(settings, sign, signed):
        raise strange()
    return told


def _is_of_alipay(settings: Settings, sign: str, content: bytes) -> bool:
    key = settings.keys.get(_KEY)
    return key is not None and provider_settings.is_signed(key, sign, content)


def _check_signed(settings: Settings, told: Mapping[str, str], fields: int) -> None:
    """Raise Declined where a notification is not of Alipay, or is old."""
    named = {name: value for name, value in told.items() if name not in ("sign", "sign_type")}
    is_whole = len(told) == fields and told.get("sign_type") == "RSA2"
    content = _joined(named).encode()
    if not is_whole or not _is_of_alipay(settings, told.get("sign", ""), content):
        raise not_genuine()
    try:
        age_s = int(time.time()) - _moment(told.get("notify_time"))
    except ValueError as error:
        raise not_readable() from error
    if abs(age_s) > _WINDOW_S:
        raise Declined("expired", _("the notification is old, or the station's clock is wrong"))
