"""Stand-ins of WeChat Pay and Alipay: servers that sign as their documents say.

They have no code of ours.
Each takes payments, answers questions, notifies, and gives statements. A test changes what one
says before it is signed, who signs it, or has it say nothing.
"""

import base64
import hashlib
import io
import json
import re
import secrets
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

CHINA = timezone(timedelta(hours=8))
KEY_SIZE = 2048
DAY = "2026-07-01"
AT = datetime(2026, 7, 1, 12, tzinfo=CHINA)


@cache
def key_of(name: str) -> rsa.RSAPrivateKey:
    """Return the key of somebody; one is made once, as it takes its time."""
    return rsa.generate_private_key(65537, KEY_SIZE)


def signature(key: rsa.RSAPrivateKey, text: bytes) -> str:
    return base64.b64encode(key.sign(text, PKCS1v15(), hashes.SHA256())).decode()


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(key: rsa.RSAPrivateKey, serial: int) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial)
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=9))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


class StandIn:
    """A provider with its server; `trades` are the payments by the station's reference."""

    kind = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own, self.station = key_of(self.kind), key_of("station")
        self.stranger = key_of("stranger")
        self.trades: dict[str, dict[str, Any]] = {}
        self.refunds: list[tuple[str, int]] = []
        self.asked: list[str] = []
        self.is_silent = False
        self.signer = self.own
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *told: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                self.answer(b"")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers["Content-Length"])))

            def answer(self, body: bytes) -> None:
                if outer.is_silent:
                    self.close_connection = True
                    return
                status, headers, content = outer.answer(
                    self.command, self.path, dict(self.headers), body
                )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.write("station.pem", private_pem(self.station))

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def pay(self, reference: str) -> None:
        """The payer scans the code and pays."""
        self.trades[reference] |= {"state": "paid", "number": secrets.token_hex(14)}

    def settings(self, **changes: str) -> Path:
        raise NotImplementedError

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        raise NotImplementedError


Change = Callable[[dict[str, Any]], None]


class WeChatStandIn(StandIn):
    """WeChat Pay, API v3."""

    kind = "wechat"
    serial = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
    key = "0123456789abcdef0123456789abcdef"

    def settings(self, **changes: str) -> Path:
        self.write("wechatpay.pem", certificate(self.own, int(self.serial, 16)))
        told = {
            "gateway": self.url,
            "notify_url": "https://station.example/api/v1/providers/pay-1/notifications",
            "private_key": "station.pem",
            "appid": "wx8888888888888888",
            "mchid": "1900000109",
            "serial": "444F4864EA9B34415ACFBE6CE8B2FF5A5A5A5A5A",
            "api_v3_key": self.key,
            **changes,
        }
        lines = "".join(f'{name} = "{value}"\n' for name, value in told.items())
        keys = f'[provider_keys]\n{self.serial} = "wechatpay.pem"\n'
        return self.write("pay.toml", (lines + keys).encode())

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        fields = dict(re.findall(r'(\w+)="([^"]*)"', headers["Authorization"]))
        assert headers["Authorization"].startswith("WECHATPAY2-SHA256-RSA2048 ")
        text = f"{method}\n{path}\n{fields['timestamp']}\n{fields['nonce_str']}\n".encode()
        self.station.public_key().verify(
            base64.b64decode(fields["signature"]), text + body + b"\n", PKCS1v15(), hashes.SHA256()
        )
        if path == "/bill":
            return 200, {}, self.bill()
        if method == "POST":
            told = json.loads(body)
            self.trades[told["out_trade_no"]] = {**told, "state": "waiting"}
            return self.signed({"code_url": f"weixin://wxpay/bizpayurl?pr={secrets.token_hex(4)}"})
        if path.startswith("/v3/bill/tradebill?"):
            digest = hashlib.sha1(self.bill()).hexdigest()
            told = {"hash_type": "SHA1", "hash_value": digest, "download_url": self.url + "/bill"}
            return self.signed(told)
        reference = path.split("/")[-1].partition("?")[0]
        self.asked.append(reference)
        if reference not in self.trades:
            return 404, {}, b'{"code": "ORDER_NOT_EXIST"}'
        return self.signed(self.transaction(reference))

    def transaction(self, reference: str) -> dict[str, Any]:
        one = self.trades[reference]
        told = {
            "appid": one["appid"],
            "mchid": one["mchid"],
            "out_trade_no": reference,
            "trade_state": {"waiting": "NOTPAY", "paid": "SUCCESS"}.get(one["state"], "CLOSED"),
        }
        if one["state"] == "paid":
            amount = {**one["amount"], "payer_total": 1, "payer_currency": "CNY"}
            told |= {"transaction_id": one["number"], "success_time": AT.isoformat()}
            told |= {"amount": amount}
        return told

    def signed(self, told: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        body = json.dumps(told).encode()
        return 200, self.headers(body), body

    def headers(self, body: bytes, at: int = 0) -> dict[str, str]:
        moment, nonce = str(at or int(time.time())), secrets.token_hex(16)
        text = f"{moment}\n{nonce}\n".encode() + body + b"\n"
        return {
            "Wechatpay-Serial": self.serial,
            "Wechatpay-Timestamp": moment,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": signature(self.signer, text),
            "Content-Type": "application/json",
        }

    def notice(
        self, reference: str, change: Change | None = None, at: int = 0
    ) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a notification of what was paid."""
        told = self.transaction(reference)
        if change is not None:
            change(told)
        nonce = secrets.token_hex(6)
        content = AESGCM(self.key.encode()).encrypt(
            nonce.encode(), json.dumps(told).encode(), b"transaction"
        )
        resource = {
            "original_type": "transaction",
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": base64.b64encode(content).decode(),
            "associated_data": "transaction",
            "nonce": nonce,
        }
        whole = {"id": secrets.token_hex(8), "event_type": "TRANSACTION.SUCCESS"}
        whole |= {"resource_type": "encrypt-resource"}
        body = json.dumps({**whole, "resource": resource}).encode()
        return self.headers(body, at), body

    def bill(self) -> bytes:
        names = (
            "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,"
            "交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,"
            "充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,"
            "费率备注"
        )
        rows = [
            self._bill_row(one, reference, "SUCCESS", "0", "0.00")
            for reference, one in self.trades.items()
            if one["state"] == "paid"
        ]
        rows += [
            self._bill_row(
                self.trades[reference], reference, "REFUND", f"5{at}", f"{fen / 100:.2f}"
            )
            for at, (reference, fen) in enumerate(self.refunds)
        ]
        sums = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额"
        lines = [names, *rows, sums, "`2,`1.00,`0.00,`0.00,`0.00,`1.00"]
        return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()

    def _bill_row(self, one: Any, reference: str, state: str, refund: str, back: str) -> str:
        money = f"{one['amount']['total'] / 100:.2f}"
        cells = (
            *(
                AT.strftime("%Y-%m-%d %H:%M:%S"),
                one["appid"],
                one["mchid"],
                "0",
                "",
                one["number"],
            ),
            *(reference, "oUpF8uMuAJO", "NATIVE", state, "OTHERS", "CNY", money, "0.00"),
            *(refund, "0", back, "0.00", "", "", "electricity", "", "0.00", "0.60%", money, back),
            "",
        )
        return ",".join(f"`{cell}" for cell in cells)


class AlipayStandIn(StandIn):
    """Alipay's gateway."""

    kind = "alipay"

    def settings(self, **changes: str) -> Path:
        self.write("alipay.pem", public_pem(self.own))
        told = {
            "gateway": self.url + "/gateway.do",
            "notify_url": "https://station.example/api/v1/providers/pay-1/notifications",
            "private_key": "station.pem",
            "app_id": "2014072300007148",
            "seller_id": "2088101122136241",
            **changes,
        }
        lines = "".join(f'{name} = "{value}"\n' for name, value in told.items())
        return self.write(
            "pay.toml", (lines + '[provider_keys]\nalipay = "alipay.pem"\n').encode()
        )

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if path == "/bill":
            return 200, {}, self.bill()
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        text = "&".join(f"{name}={form[name]}" for name in sorted(form) if name != "sign")
        self.station.public_key().verify(
            base64.b64decode(form["sign"]), text.encode(), PKCS1v15(), hashes.SHA256()
        )
        content = json.loads(form["biz_content"])
        told: dict[str, Any] = {"code": "10000", "msg": "Success"}
        if form["method"] == "alipay.trade.precreate":
            reference = content["out_trade_no"]
            self.trades[reference] = {**content, "state": "waiting", "app_id": form["app_id"]}
            told |= {"out_trade_no": reference, "qr_code": "https://qr.example/bavh4w"}
        elif form["method"] == "alipay.trade.query":
            self.asked.append(content["out_trade_no"])
            told |= self.trade(content["out_trade_no"])
        else:
            told |= {"bill_download_url": self.url + "/bill"}
        return 200, {}, self.signed(form["method"].replace(".", "_") + "_response", told)

    def signed(self, name: str, told: dict[str, Any]) -> bytes:
        # Slashes are escaped as theirs are: the signature is over the very characters.
        text = json.dumps(told).replace("/", "\\/")
        sign = signature(self.signer, text.encode())
        return f'{{"{name}": {text},"sign":"{sign}"}}'.encode()

    def trade(self, reference: str) -> dict[str, Any]:
        one = self.trades.get(reference)
        if one is None or one["state"] == "waiting":
            return {"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST", "msg": "Business Failed"}
        told = {"out_trade_no": reference, "total_amount": one["total_amount"]}
        if one["state"] != "paid":
            return {**told, "trade_status": "TRADE_CLOSED", "trade_no": "1"}
        told |= {"trade_status": "TRADE_SUCCESS", "trade_no": one["number"]}
        return {**told, "send_pay_date": AT.strftime("%Y-%m-%d %H:%M:%S")}

    def notice(
        self, reference: str, change: Change | None = None, at: int = 0
    ) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a notification of what was paid."""
        one = self.trades[reference]
        moment = datetime.fromtimestamp(at or time.time(), CHINA)
        told = {
            "notify_time": moment.strftime("%Y-%m-%d %H:%M:%S"),
            "notify_type": "trade_status_sync",
            "notify_id": secrets.token_hex(16),
            "app_id": one["app_id"],
            "seller_id": "2088101122136241",
            "charset": "utf-8",
            "version": "1.0",
            "trade_no": one["number"],
            "out_trade_no": reference,
            "subject": "电 & 费=50%",
            "body": "",
            "total_amount": one["total_amount"],
            "trade_status": "TRADE_SUCCESS",
            "gmt_payment": AT.strftime("%Y-%m-%d %H:%M:%S"),
        }
        if change is not None:
            change(told)
        text = "&".join(f"{name}={told[name]}" for name in sorted(told) if told[name])
        told |= {"sign": signature(self.signer, text.encode()), "sign_type": "RSA2"}
        body = "&".join(f"{name}={quote(value, safe='')}" for name, value in told.items())
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return headers, body.encode()

    def bill(self) -> bytes:
        names = (
            "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,"
            "终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,"
            "支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
            "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
        )
        rows = [
            self._bill_row(one["number"], reference, "交易", one["total_amount"], "")
            for reference, one in self.trades.items()
            if one["state"] == "paid"
        ]
        rows += [
            self._bill_row(
                self.trades[reference]["number"], reference, "退款", f"-{fen / 100:.2f}", f"r{at}"
            )
            for at, (reference, fen) in enumerate(self.refunds)
        ]
        head = ["#支付宝业务明细查询", "#账号：[20881011221362410156]", f"#起始日期：[{DAY}]"]
        begin, end = "#-----业务明细列表----", "#-----业务明细列表结束----"
        text = "\r\n".join([*head, begin, names, *rows, end, "#交易合计：2笔"]) + "\r\n"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr("20881_20260701_业务明细(汇总).csv", "#".encode("gbk"))
            file.writestr("20881_20260701_业务明细.csv", text.encode("gbk"))
        return packed.getvalue()

    def _bill_row(self, number: str, reference: str, kind: str, money: str, refund: str) -> str:
        moment = AT.strftime("%Y-%m-%d %H:%M:%S")
        cells = (number, reference, kind, "电费", moment, moment, "", "", "", "", "*明", money)
        cells += (money, *("0.00",) * 5, "", "0.00", "0.00", refund, "0.00", "0.00", "")
        return ",".join(f"{cell}\t" for cell in cells)
