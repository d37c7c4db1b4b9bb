"""Who may see the page: every header and path that a request may come with."""

import pytest

from agent.page.access import HEADERS, Gate
from agent.page.feed import Address, is_loopback

LOCAL = Gate("127.0.0.1", 8870)
OPEN = Gate("0.0.0.0", 8870, "secret-token")


def status(gate: Gate, path: str = "/", method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in {"Host": "127.0.0.1:8870", **headers}.items()}
    refusal = gate.refusal(method, path, named)
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize("host", ["127.0.0.1:8870", "localhost:8870", "[::1]:8870", "LOCALHOST:8870"])
def test_the_page_is_served_under_the_names_of_this_machine(host: str) -> None:
    assert status(LOCAL, Host=host) == 200
    assert status(LOCAL, Host=host, Origin=f"http://{host.lower()}") == 200


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "evil.example:8870", "127.0.0.1", "127.0.0.1:8871", "localhost:", "localhost:x"),
        *("127.0.0.1:8870.evil.example", "127.0.0.1@evil.example:8870", "localhost.evil.example:8870"),
        *("192.168.1.5:8870", "[::1]", "::1:8870:8870", "127.0.0.1:-8870", "127.0.0.1:08870 ", "127.0.0.1:\u0668870"),
    ],
)
def test_another_name_is_refused(host: str) -> None:
    assert status(LOCAL, Host=host) == 403


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://evil.example", "https://127.0.0.1:8870", "http://127.0.0.1", "http://127.0.0.1:8871"),
        *("http://localhost:8870", "http://127.0.0.1:8870.evil.example", "http://127.0.0.1:8870/"),
    ],
)
def test_another_origin_is_refused(origin: str) -> None:
    assert status(LOCAL, Origin=origin) == 403


@pytest.mark.parametrize(
    ("site", "expected"), [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)]
)
def test_what_another_page_has_the_browser_load_is_refused(site: str, expected: int) -> None:
    assert status(LOCAL, Sec_Fetch_Site=site) == expected


def test_only_the_page_itself_may_post() -> None:
    assert status(LOCAL, method="POST") == 405
    assert status(LOCAL, method="POST", Origin="http://127.0.0.1:8870") == 200
    for method in ("PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"):
        assert status(LOCAL, method=method, Origin="http://127.0.0.1:8870") == 405


@pytest.mark.parametrize(
    "path",
    [
        *("/", "", "/live", "/secret-toke/", "/secret-token", "/secret-tokenx/", "//secret-token/", "/ secret-token/"),
        *("/x/secret-token/", "/SECRET-TOKEN/", "/secret-tok\u00e9n/"),
    ],
)
def test_where_other_machines_may_look_a_path_without_the_token_is_refused(path: str) -> None:
    assert status(OPEN, path, Host="192.168.1.5:8870") == 403


def test_where_other_machines_may_look_the_token_opens_the_page() -> None:
    for host in ("192.168.1.5:8870", "[fe80::1]:8870", "localhost:8870"):
        assert status(OPEN, "/secret-token/", Host=host) == 200
    assert OPEN.inside("/secret-token/app.js") == "app.js"
    assert status(OPEN, "/secret-token/", Host="evil.example:8870") == 403, "a name may lead here from anywhere"


def test_an_address_has_a_token_exactly_if_other_machines_reach_it() -> None:
    for host in (None, "127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert Address.at(host, 0).token == ""
    tokens = {Address.at(host, 9000).token for host in ("0.0.0.0", "192.168.1.5", "::", "example")}
    assert len(tokens) == 4
    assert min(map(len, tokens)) >= 20
    assert not is_loopback("1127.0.0.1")


def test_nothing_from_elsewhere_is_loaded_and_nothing_is_shown_elsewhere() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy
    assert "Set-Cookie" not in HEADERS
