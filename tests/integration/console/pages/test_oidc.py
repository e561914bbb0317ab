"""People log in with accounts of an OpenID provider, and nobody gets in by a token that is not theirs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from tests.chromium import open_window
from tests.integration.console.pages.conftest import NUMBERS, PASSWORD, Site, running_site
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIdProviderPeer, Person, new_key, unsigned

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests
    from playwright.sync_api import Browser as Chromium

    from tests.integration.console.pages.conftest import Browser

ATTACKER = new_key("key-1")
SHORT_KEY = ECKey.generate_key("P-256", {"kid": "key-1"})  # fits into a header, whose length is limited
CANARIES = (CLIENT_SECRET, "canary-access-token", "code-", "eyJ")


@dataclass(frozen=True)
class Setting:
    """A console, its provider, and the ways of a browser between them."""

    site: Site
    provider: OpenIdProviderPeer

    def person(self, role: str = "operator", **given: Any) -> Person:
        """Return a person for whom an admin has added an account."""
        email, _ = self.site.add_account(role)
        return Person(**{"sub": f"sub-{next(NUMBERS)}", "email": email, **given})

    def begin(self, browser: Browser, **fields: str) -> str:
        """Press the button of the log-in page, and return the address at the provider."""
        answer = browser.submit("/login", to="/login/oidc", **fields)
        assert answer.status_code == 200, answer.text
        return answer.headers["Refresh"].removeprefix("0;url=")

    def log_in(self, person: Person, browser: Browser | None = None, **answer: str) -> requests.Response:
        """Log in all the way; return the answer to the browser that comes back."""
        browser = browser or self.site.browser()
        return come_back(browser, self.provider.log_in(self.begin(browser), person, **answer))

    def refusals(self) -> list[tuple[str, str]]:
        """Return who was refused a log-in, and the detail, since the audit was cleared."""
        return self.site.conn.execute(
            "SELECT who, detail FROM audit WHERE verb = 'log_in' AND NOT allowed ORDER BY id"
        ).fetchall()


def come_back(browser: Browser, address: str) -> requests.Response:
    """Open the address to which the provider sends the browser, as a browser does that comes from another site."""
    return browser.open(address, **{"Sec-Fetch-Site": "cross-site"})


@pytest.fixture(scope="module")
def setting(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    provider = OpenIdProviderPeer()
    oidc = {"OIDC_ISSUER": provider.issuer, "OIDC_CLIENT_ID": CLIENT_ID, "OIDC_CLIENT_SECRET": CLIENT_SECRET}
    with running_site(database_url, redis_url, tmp_path_factory.mktemp("oidc"), **oidc) as site:
        yield Setting(site, provider)
    provider.stop()
    printed = site.console.printed()
    assert [canary for canary in CANARIES if canary in printed] == []


@pytest.fixture(autouse=True)
def _fresh(setting: Setting) -> None:
    setting.site.conn.execute("DELETE FROM login_failures")
    setting.site.conn.execute("DELETE FROM audit")
    setting.provider.broken = ""


def logged_in_as(browser: Browser) -> str | None:
    """Return the text of the account page; None for a browser that is not logged in."""
    answer = browser.open("/account")
    return answer.text if answer.status_code == 200 else None


def test_the_first_log_in_binds_the_account_and_later_ones_need_no_address(setting: Setting) -> None:
    person, browser = setting.person(), setting.site.browser()
    answer = setting.log_in(person, browser)
    assert (answer.status_code, answer.headers["Refresh"]) == (200, "0;url=/")
    assert str(person.email) in str(logged_in_as(browser))
    later = setting.site.browser()
    renamed = Person(sub=person.sub, email="somebody.else@example.com", email_verified=False)
    assert setting.log_in(renamed, later).status_code == 200
    assert str(person.email) in str(logged_in_as(later))
    entries = setting.site.conn.execute(
        "SELECT who, allowed, detail, address FROM audit WHERE verb = 'log_in' ORDER BY id"
    ).fetchall()
    by = f"OpenID Connect, {setting.provider.issuer}"
    assert entries == [
        (person.email, True, f"{by}; bound to the account by its e-mail address", "127.0.0.1"),
        (person.email, True, by, "127.0.0.1"),
    ]


def test_the_role_is_the_accounts(setting: Setting) -> None:
    viewer, admin = setting.site.browser(), setting.site.browser()
    setting.log_in(setting.person("viewer", claims={"role": "admin", "groups": ["admin"]}), viewer)
    setting.log_in(setting.person("admin"), admin)
    assert (viewer.open("/people").status_code, admin.open("/people").status_code) == (403, 200)


def test_the_address_may_come_from_the_providers_userinfo(setting: Setting) -> None:
    setting.site.mailroom("admin", "add", "by-userinfo@example.com", "--role", "viewer")
    browser = setting.site.browser()
    assert setting.log_in(Person(sub="by-userinfo", email_by_userinfo=True), browser).status_code == 200
    assert "by-userinfo@example.com" in str(logged_in_as(browser))


def test_the_log_in_goes_on_where_somebody_wanted_to_go(setting: Setting) -> None:
    browser, person = setting.site.browser(), setting.person()
    address = setting.begin(browser, next="/events?q=state:failed")
    answer = come_back(browser, setting.provider.log_in(address, person))
    assert answer.headers["Refresh"] == "0;url=/events?q=state:failed"
    other = setting.site.browser()
    elsewhere = setting.begin(other, next="https://evil.example/")
    assert come_back(other, setting.provider.log_in(elsewhere, person)).headers["Refresh"] == "0;url=/"


def signed_by_secret(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign with the client secret, which the console knows, too."""
    return jwt.encode({**header, "alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET * 2))


def with_own_key_in_the_header(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign with a key that the token brings along."""
    return jwt.encode({"alg": "ES256", "jwk": SHORT_KEY.as_dict(private=False)}, claims, SHORT_KEY)


def with_own_key_and_id(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign with a key that the token brings along, under the id of the provider's."""
    return jwt.encode({**header, "alg": "ES256", "jwk": SHORT_KEY.as_dict(private=False)}, claims, SHORT_KEY)


def with_a_key_elsewhere(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Name an address with keys."""
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(strict_check_header=False)
    return jwt.encode({**header, "jku": "http://127.0.0.1:9/jwks"}, claims, ATTACKER, registry=registry)


NOW = int(time.time())
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("algorithm none", {"token": lambda header, claims: unsigned({"alg": "none"}, claims)}, "algorithm"),
    ("none with a key id", {"token": lambda header, claims: unsigned({**header, "alg": "none"}, claims)}, "algorithm"),
    ("our secret as the key", {"token": signed_by_secret}, "algorithm"),
    ("a key in the header", {"token": with_own_key_in_the_header}, "key"),
    ("a key in the header under their id", {"token": with_own_key_and_id}, "key"),
    ("a key at another address", {"token": with_a_key_elsewhere}, "signature"),
    ("another key", {"key": ATTACKER}, "signature"),
    ("an unknown key", {"key": new_key("key-9")}, "key"),
    ("no signature", {"token": unsigned}, "signature"),
    ("an unknown critical header", {"token": lambda h, c: unsigned({**h, "crit": ["x"], "x": 1}, c, b"x")}, ""),
    ("no token", {"token": lambda header, claims: "canary"}, ""),
    ("three dots", {"token": lambda header, claims: "a.b.c"}, ""),
    ("a list of claims", {"token": lambda header, claims: unsigned(header, [claims])}, ""),  # type: ignore[arg-type]
    ("another audience", {"claims": {"aud": "other"}}, "aud"),
    ("other audiences", {"claims": {"aud": ["other", "another"]}}, "aud"),
    ("no audience", {"claims": {"aud": None}}, "aud"),
    ("several audiences, for another", {"claims": {"aud": [CLIENT_ID, "other"], "azp": "other"}}, "azp"),
    ("several audiences, for nobody", {"claims": {"aud": [CLIENT_ID, "other"]}}, "azp"),
    ("another issuer", {"claims": {"iss": "http://localhost:1/realm"}}, "iss"),
    ("no issuer", {"claims": {"iss": None}}, "iss"),
    ("another nonce", {"claims": {"nonce": "other"}}, "nonce"),
    ("no nonce", {"claims": {"nonce": None}}, "nonce"),
    ("expired", {"claims": {"exp": NOW - 3_600}}, "exp"),
    ("no end", {"claims": {"exp": None}}, "exp"),
    ("no beginning", {"claims": {"iat": None}}, "iat"),
    ("not yet good", {"claims": {"nbf": NOW + 36_000}}, "nbf"),
    ("of the future", {"claims": {"iat": NOW + 36_000}}, "iat"),
    ("nobody", {"claims": {"sub": None}}, "sub"),
    ("an empty name", {"claims": {"sub": ""}}, "sub"),
    ("a number", {"claims": {"sub": 17}}, "sub"),
    ("a long name", {"claims": {"sub": "x" * 256}}, "sub"),
    ("a name with a NUL", {"claims": {"sub": "x\0"}}, "sub"),
    ("of another access token", {"claims": {"at_hash": "b3RoZXI"}}, "at_hash"),
    ("a malformed hash", {"claims": {"at_hash": [1]}}, ""),
]


@pytest.mark.parametrize(("given", "check"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_an_id_token_that_proves_nothing_is_refused(setting: Setting, given: dict[str, Any], check: str) -> None:
    person, browser = setting.person(**given), setting.site.browser()
    answer = setting.log_in(person, browser)
    assert (answer.status_code, logged_in_as(browser)) == (403, None)
    assert "could not be verified" in answer.text
    [(who, detail)] = setting.refusals()
    assert (who, detail.startswith("OpenID Connect: refused: ")) == ("unknown", True)
    assert check in detail.replace("ID token", "").replace("alg)", "algorithm)"), detail
    assert detail.rpartition("(")[2] not in answer.text
    rows = str(setting.site.conn.execute("SELECT a::text FROM audit a WHERE NOT allowed").fetchall())
    assert [each for each in (person.sub, person.email, *CANARIES, "http") if str(each) in rows] == []


@pytest.mark.parametrize("verified", [False, None, "true", 1, "false", []])
def test_an_address_that_the_provider_has_not_verified_lets_nobody_in(setting: Setting, verified: Any) -> None:
    browser = setting.site.browser()
    answer = setting.log_in(setting.person(email_verified=verified), browser)
    assert (answer.status_code, logged_in_as(browser)) == (403, None)
    assert setting.refusals() == [("unknown", "OpenID Connect: the provider has verified no e-mail address")]


@pytest.mark.parametrize("email", ["stranger@example.com", "", None, ["x"], "x@example.com\0"])
def test_an_address_that_no_admin_has_added_lets_nobody_in(setting: Setting, email: Any) -> None:
    browser = setting.site.browser()
    answer = setting.log_in(Person(sub="stranger", email=email), browser)
    assert (answer.status_code, logged_in_as(browser), len(setting.refusals())) == (403, None, 1)


def test_a_name_within_or_around_an_address_is_another_address(setting: Setting) -> None:
    known = str(setting.person().email)
    for email in (
        f"x{known}",
        f"{known}.evil.example",
        f"{known} ",
        f" {known}",
        f"<{known}>",
        known.replace("@", "+a@"),
    ):
        assert setting.log_in(Person(sub="close", email=email)).status_code == 403


def test_another_person_with_the_same_address_does_not_get_in(setting: Setting) -> None:
    person = setting.person()
    setting.log_in(person)
    browser = setting.site.browser()
    answer = setting.log_in(Person(sub="thief", email=person.email), browser)
    assert (answer.status_code, logged_in_as(browser)) == (403, None)
    assert "nobody here is let in" in answer.text
    [(who, detail)] = setting.refusals()
    assert (who, "another identity" in detail) == (person.email, True)
    assert setting.log_in(person).status_code == 200


def test_somebody_who_is_logged_in_binds_their_account_without_a_verified_address(setting: Setting) -> None:
    """Some providers never say that an address is verified."""
    browser, person = setting.site.logged_in("viewer"), Person(sub="unverified", email_verified=None)
    address = browser.submit("/account", to="/login/oidc", next="/account").headers["Refresh"].removeprefix("0;url=")
    answer = come_back(browser, setting.provider.log_in(address, person))
    assert (answer.status_code, answer.headers["Refresh"]) == (200, "0;url=/account")
    assert setting.provider.issuer in str(logged_in_as(browser))
    assert logged_in_as_sub(setting, "unverified")


def test_an_identity_stays_with_the_account_that_it_is_bound_to(setting: Setting) -> None:
    bound = setting.person()
    setting.log_in(bound)
    browser = setting.site.logged_in("admin")
    address = browser.submit("/account", to="/login/oidc").headers["Refresh"].removeprefix("0;url=")
    assert come_back(browser, setting.provider.log_in(address, bound)).status_code == 403
    assert setting.refusals() == [(bound.email, "OpenID Connect: the identity is bound to another account")]
    assert setting.provider.issuer not in str(logged_in_as(browser))


def logged_in_as_sub(setting: Setting, sub: str) -> bool:
    """Whether the person with this subject gets in."""
    browser = setting.site.browser()
    setting.log_in(Person(sub=sub, email_verified=None), browser)
    return logged_in_as(browser) is not None


def test_an_admin_releases_an_account_from_its_identity(setting: Setting) -> None:
    person, browser = setting.person(), setting.site.browser()
    setting.log_in(person, browser)
    setting.site.mailroom("admin", "unbind", person.email)
    assert logged_in_as(browser) is None
    newer = Person(sub="newer", email=person.email)
    assert setting.log_in(newer).status_code == 200
    admin = setting.site.logged_in()
    page = admin.open("/people").text
    assert f"logs in with {setting.provider.issuer}" in page
    (number,) = setting.site.conn.execute("SELECT id FROM accounts WHERE email = %s", (person.email,)).fetchone() or (
        0,
    )
    assert admin.submit("/people", to=f"/people/{number}/unbind").status_code == 303
    assert setting.log_in(person).status_code == 200


def test_a_disabled_account_is_logged_out_and_does_not_get_in(setting: Setting) -> None:
    bound, unbound, browser = setting.person(), setting.person(), setting.site.browser()
    setting.log_in(bound, browser)
    for person in (bound, unbound):
        setting.site.mailroom("admin", "disable", person.email)
    assert logged_in_as(browser) is None
    assert [setting.log_in(person).status_code for person in (bound, unbound)] == [403, 403]
    assert setting.refusals() == [
        (person.email, "OpenID Connect: the account is disabled") for person in (bound, unbound)
    ]
    setting.site.mailroom("admin", "enable", unbound.email)
    assert setting.log_in(unbound).status_code == 200


def test_log_out_ends_the_session(setting: Setting) -> None:
    browser = setting.site.browser()
    setting.log_in(setting.person(), browser)
    stolen = browser.session.cookies.copy()
    assert browser.submit("/account", to="/logout").status_code == 303
    thief = setting.site.browser()
    thief.session.cookies.update(stolen)
    assert logged_in_as(thief) is None


def test_a_state_works_once(setting: Setting) -> None:
    browser, person = setting.site.browser(), setting.person()
    address = setting.provider.log_in(setting.begin(browser), person)
    assert come_back(browser, address).status_code == 200
    browser.submit("/account", to="/logout")
    again = come_back(browser, address)
    assert (again.status_code, logged_in_as(browser)) == (403, None)
    assert setting.refusals() == [("unknown", "OpenID Connect: unknown state")]


def test_a_state_of_another_browser_logs_nobody_in(setting: Setting) -> None:
    attacker, victim = setting.site.browser(), setting.site.browser()
    asked = len(setting.provider.requests)
    address = setting.provider.log_in(setting.begin(attacker), setting.person())
    for other in (victim, setting.site.browser()):
        setting.begin(victim)
        assert come_back(other, address).status_code == 403
        assert logged_in_as(other) is None
    assert come_back(attacker, address).status_code == 403  # it was taken out
    assert setting.refusals()[0] == ("unknown", "OpenID Connect: state of another browser")
    assert len(setting.provider.requests) == asked


def test_a_state_ends_after_ten_minutes(setting: Setting) -> None:
    browser = setting.site.browser()
    address = setting.provider.log_in(setting.begin(browser), setting.person())
    setting.site.conn.execute("UPDATE oidc_logins SET expires_at = expires_at - interval '10 minutes'")
    assert come_back(browser, address).status_code == 403


@pytest.mark.parametrize("query", ["", "?state=x&code=y", "?code=y", "?state=%ff&code=%00"])
def test_a_return_that_nobody_began_is_refused(setting: Setting, query: str) -> None:
    assert come_back(setting.site.browser(), f"/login/oidc/callback{query}").status_code == 403


@pytest.mark.parametrize("query", ["error=access_denied&error_description=<script>canary</script>", "code=", "x=1"])
def test_a_denial_of_the_provider_is_said_and_its_words_are_not(setting: Setting, query: str) -> None:
    browser = setting.site.browser()
    state = parse_qs(urlsplit(setting.begin(browser)).query)["state"][0]
    answer = come_back(browser, f"/login/oidc/callback?{query}&state={state}")
    assert (answer.status_code, "canary" in answer.text) == (403, False)
    assert setting.refusals() == [("unknown", "OpenID Connect: the provider let nobody in")]


def test_an_answer_of_another_provider_is_refused(setting: Setting) -> None:
    assert setting.log_in(setting.person(), iss="https://evil.example").status_code == 403
    assert setting.log_in(setting.person(), iss=setting.provider.issuer).status_code == 200


def test_a_code_is_good_for_the_browser_that_asked_for_it(setting: Setting) -> None:
    """The provider compares the code's challenge, so that a stolen code is worth nothing with another verifier."""
    browser = setting.site.browser()
    stolen = parse_qs(urlsplit(setting.provider.log_in(setting.begin(setting.site.browser()), setting.person())).query)
    state = parse_qs(urlsplit(setting.begin(browser)).query)["state"][0]
    answer = come_back(browser, f"/login/oidc/callback?code={stolen['code'][0]}&state={state}")
    assert (answer.status_code, logged_in_as(browser)) == (403, None)
    assert setting.refusals() == [("unknown", "OpenID Connect: refused: the code")]


def test_a_key_that_the_provider_added_is_found(setting: Setting) -> None:
    newer = new_key("key-2")
    setting.provider.keys.append(newer)
    assert setting.log_in(setting.person(key=newer)).status_code == 200


@pytest.mark.parametrize("part", ["token", "jwks"])
def test_a_broken_provider_leaves_the_password(setting: Setting, part: str) -> None:
    email, link = setting.site.add_account()
    setting.site.browser().submit(link, password=PASSWORD, again=PASSWORD)
    setting.provider.broken = part
    browser = setting.site.browser()
    answer = setting.log_in(setting.person(), browser)
    assert (answer.status_code, "log in with your password" in answer.text) == (503, True)
    assert browser.submit("/login", email=email, password=PASSWORD).status_code == 303
    assert setting.site.conn.execute("SELECT count(*) FROM login_failures").fetchone() == (0,)


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": None, "Origin": "https://evil.example"}]
)
def test_another_site_begins_no_log_in(setting: Setting, headers: dict[str, str | None]) -> None:
    browser = setting.site.browser()
    browser.open("/login")
    assert browser.post("/login/oidc", {}, **headers).status_code == 403
    assert browser.post("/login/oidc", {}).status_code == 403  # no token


def test_a_browser_closes_after_five_refusals(setting: Setting) -> None:
    browser = setting.site.browser()
    setting.begin(browser)
    statuses = [come_back(browser, "/login/oidc/callback?state=x&code=y").status_code for _ in range(7)]
    assert (statuses, len(setting.refusals())) == ([403] * 5 + [429] * 2, 5)
    begun = browser.submit("/login", to="/login/oidc")
    assert (begun.status_code, int(begun.headers["Retry-After"]) > 60) == (429, True)
    assert setting.log_in(setting.person()).status_code == 200


def test_an_address_closes_after_thirty_refusals(setting: Setting) -> None:
    setting.site.conn.execute(
        "INSERT INTO login_failures (account, address) SELECT n::text::bytea, '127.0.0.1' FROM generate_series(1, 29) n"
    )
    assert come_back(setting.site.browser(), "/login/oidc/callback?state=x&code=y").status_code == 403
    assert come_back(setting.site.browser(), "/login/oidc/callback?state=x&code=y").status_code == 429
    assert setting.site.browser().submit("/login", to="/login/oidc").status_code == 429
    assert len(setting.refusals()) == 1


def test_an_address_keeps_a_bounded_number_of_log_ins_waiting(setting: Setting) -> None:
    conn = setting.site.conn
    conn.execute("DELETE FROM oidc_logins")
    conn.execute(
        "INSERT INTO oidc_logins SELECT n::text::bytea, '', '', '', '/', NULL, '127.0.0.1',"
        " now() + interval '9 minutes' FROM generate_series(1, 300) n"
    )
    assert setting.log_in(setting.person()).status_code == 200
    assert conn.execute("SELECT count(*) <= 100 FROM oidc_logins").fetchone() == (True,)


def test_a_browser_goes_to_the_provider_and_back(setting: Setting, chromium: Chromium) -> None:
    """The provider is another site, so that a browser leaves the session's cookie out of the first request."""
    person = setting.person("admin")
    setting.provider.at_the_page = person
    window = open_window(chromium, setting.site.console.url)
    window.page.goto("/tenants")
    assert window.serious_faults() == []
    window.page.click("button:has-text('Log in with localhost')")
    window.page.wait_for_url("**/tenants")
    assert "Tenants" in window.page.inner_text("h1")
    [cookie] = [each for each in window.context.cookies() if each["name"] == "mailroom-login"]
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Strict", True)
    assert window.complaints == []
    window.context.close()


def test_a_provider_that_is_away_is_named_and_waited_for_once(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    provider = OpenIdProviderPeer()
    oidc = {"OIDC_ISSUER": provider.issuer, "OIDC_CLIENT_ID": CLIENT_ID, "OIDC_CLIENT_SECRET": CLIENT_SECRET}
    provider.broken = "drip"
    with running_site(database_url, redis_url, tmp_path_factory.mktemp("away"), **oidc) as site:
        email, link = site.add_account()
        site.browser().submit(link, password=PASSWORD, again=PASSWORD)
        browser = site.browser()
        answers = [browser.submit("/login", to="/login/oidc") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503] * 3
        assert f"{urlsplit(provider.issuer).netloc} cannot be asked" in answers[0].text
        assert provider.metadata_asked == 1
        assert browser.submit("/login", email=email, password=PASSWORD).status_code == 303
    provider.broken = ""
    provider.stop()
