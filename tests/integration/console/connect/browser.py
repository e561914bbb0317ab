"""A headless browser: it keeps cookies, follows redirects, and parses pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

TIMEOUT = 60.0


@dataclass
class Page(HTMLParser):
    """The visible content of a page, with its links and form."""

    address: str = ""
    status: int = 0
    refresh: str | None = None
    lang: str | None = None
    title: str = ""
    text: str = ""
    links: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    action: str = ""
    _within: list[str] = field(default_factory=list)
    _select: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._within.append(tag)
        if tag == "html":
            self.lang = given.get("lang")
        elif tag == "a":
            self.links.append(urljoin(self.address, given["href"]))
        elif tag == "form":
            self.action = urljoin(self.address, given["action"])
        elif tag == "input":
            self.fields[given["name"]] = given["value"]
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option":
            self.choices.setdefault(self._select, []).append(given["value"])

    def handle_data(self, data: str) -> None:
        if self._within[-1:] == ["h1"]:
            self.title += data
        self.text += " ".join(data.split()) + " "

    def handle_endtag(self, tag: str) -> None:
        self._within.append("")


class Browser:
    """A browser of one person."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False

    def open(self, address: str) -> Page:
        """Follow all redirects and return the last page."""
        return _page(self._session.get(address, timeout=TIMEOUT))

    def begin(self, link: str) -> Page:
        """Open the link, press the button of its page, and return the page at the end of all redirects."""
        return self.submit(self.open(link))

    def submit(self, page: Page, **headers: str) -> Page:
        """Send the page's form, as a browser does from a page that sends no referrer."""
        return _page(self._session.post(page.action, page.fields, headers=_form_headers(headers), timeout=TIMEOUT))

    def redirect_target(self, link: str) -> str:
        """Press the button of the link's page, and return the target of the redirect without following it."""
        page = self.open(link)
        headers = _form_headers({})
        answer = self._session.post(page.action, page.fields, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        assert answer.is_redirect, answer.text
        return answer.headers["Location"]

    def decide(self, consent: Page, company: str, *, allow: bool = True) -> str:
        """Allow or deny on Front's consent page; return the callback address without opening it."""
        assert company in consent.choices["company"], consent.text
        form = {**consent.fields, "company": company, "decision": "allow" if allow else "deny"}
        answer = self._session.get(consent.action, params=form, timeout=TIMEOUT, allow_redirects=False)
        return answer.headers["Location"]

    def corrupt_cookies(self) -> None:
        """Change a character of each cookie's content."""
        for cookie in self._session.cookies:
            value = str(cookie.value)
            cookie.value = value[:5] + ("A" if value[5] != "A" else "B") + value[6:]

    def largest_cookie(self) -> int:
        """Return the length of the longest cookie value."""
        return max(len(str(cookie.value)) for cookie in self._session.cookies)

    def allow(self, link: str, company: str) -> Page:
        """Open the link, go on, consent as this company's admin, and follow the callback."""
        return self.open(self.decide(self.begin(link), company))


def _form_headers(headers: dict[str, str]) -> dict[str, str]:
    return {"Origin": "null", "Sec-Fetch-Site": "same-origin", **headers}


def _page(answer: requests.Response) -> Page:
    page = Page(address=answer.url, status=answer.status_code, refresh=answer.headers.get("Refresh"))
    page.feed(answer.text)
    return page
