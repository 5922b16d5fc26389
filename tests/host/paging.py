"""A browser without a screen for tests of the pages: cookies, forms and what an answer says."""

import html
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

PATIENCE_S = 30
_FIELD = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
_SAID = re.compile(r'role="(?:alert|status)">(.*?)</p>', re.DOTALL)


@dataclass
class Answer:
    """An answer, after redirections."""

    status: int
    url: str
    body: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        """Return a page; of a file without a text, what can be read of it."""
        return self.body.decode(errors="replace")

    @property
    def said(self) -> str:
        """Return the sentence that a page shows first to the person, "": none."""
        found = _SAID.search(self.text)
        return html.unescape(found[1]).strip() if found else ""

    @property
    def fields(self) -> dict[str, str]:
        """Return the hidden fields of the forms in the content."""
        content = self.text.partition("<main")[2]
        return {name: html.unescape(value) for name, value in _FIELD.findall(content)}


class Browser:
    """One person's browser."""

    def __init__(self, url: str, language: str = "en") -> None:
        self.url = url
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.jar), urllib.request.ProxyHandler({})
        )
        self._headers = {"Accept-Language": language}

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask(path, None, headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        return self._ask(path, urllib.parse.urlencode(fields).encode(), headers)

    def upload(self, path: str, name: str, content: bytes, step: str = "preview") -> Answer:
        """Give a file to the form of a page."""
        told = {**self.get(path).fields, "step": step}
        parts = [
            f'--=\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
            for field, value in told.items()
        ]
        head = f'--=\r\nContent-Disposition: form-data; name="list"; filename="{name}"\r\n\r\n'
        body = b"".join((*parts, head.encode(), content, b"\r\n--=--\r\n"))
        return self._ask(path, body, {"Content-Type": "multipart/form-data; boundary=="})

    def _ask(self, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        request = urllib.request.Request(self.url + path, body, {**self._headers, **headers})
        try:
            with self._opener.open(request, timeout=PATIENCE_S) as answer:
                found = answer.status, answer.url, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            found = error.code, error.url or "", error.read(), dict(error.headers)
        return Answer(found[0], found[1].removeprefix(self.url), found[2], found[3])

    def sign_in(self, name: str, password: str) -> Answer:
        page = self.get("/sign-in")
        return self.post("/sign-in", {**page.fields, "name": name, "password": password})

    def found(self, text: str, path: str = "/households", **more: str) -> Answer:
        """Search for a text, which stands in a form and not in the address."""
        return self.post(path, {**self.get(path).fields, "q": text, **more})

    def asked(self, account: str, amount: str, **changes: str) -> Answer:
        """Fill in the form of a sale; return the page that asks for its confirmation."""
        page = self.get(f"/sell?account={account}")
        fields = {**page.fields, "amount": amount, "way": "card", "channel": "cash"}
        asked = urllib.parse.urlencode({**fields, "step": "ask", **changes})
        return self.get(f"/sell?{asked}")

    def confirm(self, page: Answer) -> Answer:
        """Confirm a sale."""
        return self.post("/sell", page.fields)
