"""Who may see the page: checks of every request, and what every answer tells the browser to refuse.

The page has no cookies and no passwords. On the loopback address, only programs of this machine reach it. A web page
from elsewhere can make the browser send requests there, but it cannot choose their ``Host`` and ``Origin``. Where other
machines reach the page, the first part of every path is a token as well.
"""

import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from agent.page.feed import is_loopback

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_SAME_SITE = ("same-origin", "none")  # "none": the user typed the address

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Server": "Hoodcam",
}
"""Headers of every answer: nothing is loaded from elsewhere, shown elsewhere, or kept."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: The answer's status.
        reason: One line for the person who looks.
    """

    status: HTTPStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides which requests are answered.

    Attributes:
        host: The address that the page listens at.
        port: Its port.
        token: The first part of every path; empty if none is needed.
    """

    host: str
    port: int
    token: str = ""

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused; None if it is answered.

        Args:
            method: The request's method.
            path: Its path, decoded.
            headers: Its headers; names in any case.
        """
        host = headers.get("Host", "")
        if not self._is_ours(host):
            return Refusal(HTTPStatus.FORBIDDEN, "this page is not served under that name")
        origin = headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return Refusal(HTTPStatus.FORBIDDEN, "another page may not look here")
        if headers.get("Sec-Fetch-Site", "none") not in _SAME_SITE:
            return Refusal(HTTPStatus.FORBIDDEN, "another page may not look here")
        if method not in ("GET", "HEAD") and (method != "POST" or origin is None):
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "expected GET, or POST from this page")
        if self.inside(path) is None:
            return Refusal(HTTPStatus.FORBIDDEN, "the address lacks its token: use the one that the program printed")
        return None

    def inside(self, path: str) -> str | None:
        """Return the part of a path behind the token, without a slash; None if the token is missing or wrong."""
        if not self.token:
            return path.removeprefix("/")
        given, slash, rest = path.removeprefix("/").partition("/")
        fits = hmac.compare_digest(given.encode(), self.token.encode())
        return rest if fits and slash else None

    def _is_ours(self, host: str) -> bool:
        name, port = _split(host)
        if port != self.port:
            return False
        if name in _LOCAL_NAMES or name == self.host.lower():
            return True
        # A name of a foreign page can lead here by DNS (rebinding), an address in figures cannot.
        return not is_loopback(self.host) and (_is_address(name) or name in _names_of_this_machine())


def _split(host: str) -> tuple[str, int]:
    """Return a ``Host`` header's name, in lower case and without brackets, and its port; -1 if that is no number."""
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "80")
    if not name:
        name, port = host, "80"
    return name.strip("[]").lower(), int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _names_of_this_machine() -> tuple[str, ...]:
    name = socket.gethostname().lower()
    return name, f"{name.partition('.')[0]}.local"
