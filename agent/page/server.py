"""The page's web server: a few files from memory, and one WebSocket for each viewer."""

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, web

from agent.contract.errors import AgentError
from agent.page.access import HEADERS, Gate
from agent.page.feed import Address
from agent.page.viewers import MAX_MESSAGE_BYTES, MAX_VIEWERS, Board, Viewer

FIRST_PORT = 8870
"""The usual port; if it is taken, the next one that is free."""
_PORTS = 30
_BUILT = Path(__file__).parent / "built"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_PAGES = {"stream": "stream.html"}
_FAREWELL_S = 0.3  # how long a viewer may take to answer a farewell; one that floods never does
_IN_USE = {errno.EADDRINUSE, errno.EACCES}

Answer = Callable[[Viewer, dict[str, Any]], Awaitable[None]]
"""Acts on a viewer's message."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers a request for a path."""


@cache
def built_files() -> dict[str, tuple[bytes, str]]:
    """Return the page's files and their types by the path that they are served at; nothing else is ever served."""
    names = {path.name: path for path in _BUILT.iterdir() if path.suffix in _TYPES}
    files = {name: (path.read_bytes(), _TYPES[path.suffix]) for name, path in names.items()}
    return files | {short: files[name] for short, name in _PAGES.items() if name in files}


class Server:
    """Serves the page; see :func:`serving`.

    Args:
        address: Where to listen.
        board: What viewers see.
        hello: Makes the first message of each viewer.
        answer: Acts on their messages.
        handlers: Further paths, and who answers them.
        home: The file that is served at the address itself.

    Attributes:
        viewers: Those who look now.
        url: The address to open.
    """

    def __init__(
        self,
        address: Address,
        board: Board,
        hello: Callable[[], dict[str, Any]],
        answer: Answer,
        handlers: dict[str, Handler] | None = None,
        home: str = "index.html",
    ) -> None:
        self.viewers: set[Viewer] = set()
        self.url = ""
        self._address = address
        self._board = board
        self._hello = hello
        self._answer = answer
        self._handlers = {"live": self._live, **(handlers or {})}
        self._home = home
        self._gate = Gate(address.host, address.port, address.token)

    @property
    def wanted(self) -> frozenset[str]:
        """Names of the pictures that somebody looks at."""
        return frozenset[str]().union(*(viewer.wants for viewer in self.viewers))

    def wake(self) -> None:
        """Tell all viewers that there is something new."""
        for viewer in self.viewers:
            viewer.wake()

    async def start(self) -> web.AppRunner:
        """Start listening.

        Raises:
            AgentError: If the address cannot be listened at.
        """
        app = web.Application(client_max_size=300_000)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        host, port = self._address.host, self._address.port
        for each in (port,) if port else range(FIRST_PORT, FIRST_PORT + _PORTS):
            try:
                await web.TCPSite(runner, host, each).start()
            except OSError as exc:
                if port or exc.errno not in _IN_USE:
                    await runner.cleanup()
                    raise AgentError(
                        f"the page cannot listen at {host}, port {each} ({exc.strerror or exc}), expected a free port "
                        "of this machine. Pass another one with --page PORT."
                    ) from exc
                continue
            self._gate = Gate(host, each, self._address.token)
            shown = f"[{host}]" if ":" in host else host
            self.url = f"http://{shown}:{each}/" + (f"{self._address.token}/" if self._address.token else "")
            return runner
        await runner.cleanup()
        raise AgentError(
            f"the ports {FIRST_PORT} to {FIRST_PORT + _PORTS - 1} are taken, expected a free one. Pass one with --page "
            "PORT."
        )

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        refusal = self._gate.refusal(request.method, request.path, request.headers)
        if refusal is not None:
            return web.Response(status=refusal.status, text=f"{refusal.reason}\n", headers=HEADERS)
        path = self._gate.inside(request.path) or self._home
        if path in self._handlers:
            response = await self._handlers[path](request)
            if not response.prepared:
                response.headers.update(HEADERS)
            return response
        if path not in built_files() or request.method == "POST":
            return web.Response(status=HTTPStatus.NOT_FOUND, text="there is no such page\n", headers=HEADERS)
        content, kind = built_files()[path]
        if path == "theme.css" and self._address.theme:
            content = self._address.theme
        charset = None if kind.startswith("image") else "utf-8"
        return web.Response(body=content, content_type=kind, charset=charset, headers=HEADERS)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if len(self.viewers) >= MAX_VIEWERS:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{MAX_VIEWERS} look already\n")
        socket = web.WebSocketResponse(
            timeout=_FAREWELL_S, max_msg_size=MAX_MESSAGE_BYTES, heartbeat=20.0, compress=False
        )
        if not socket.can_prepare(request).ok:
            return web.Response(status=HTTPStatus.UPGRADE_REQUIRED, text="expected a WebSocket\n")
        viewer = Viewer(socket, self._board, self._hello())
        self.viewers.add(viewer)
        try:
            await socket.prepare(request)
            sending = asyncio.create_task(self._send(viewer, request))
            try:
                async for message in viewer.listen():
                    await self._answer(viewer, message)
            finally:
                sending.cancel()
        finally:
            self.viewers.discard(viewer)
        return socket

    async def _send(self, viewer: Viewer, request: web.Request) -> None:
        try:
            await viewer.send_all()
        except (TimeoutError, ConnectionError):
            self.viewers.discard(viewer)
            if request.transport is not None:
                request.transport.abort()  # a farewell would wait for the same full buffer

    async def wait_until_told(self, patience_s: float) -> None:
        """Wait until every viewer has been sent all notes, for that long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while any(viewer.is_behind for viewer in self.viewers):
                    await asyncio.sleep(0.01)

    async def say_goodbye(self) -> None:
        """Close every viewer's connection: the program ends."""
        closing = [viewer.close(WSCloseCode.GOING_AWAY) for viewer in self.viewers]
        await asyncio.gather(*closing, return_exceptions=True)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[None]:
    """Listen while the block runs.

    Raises:
        AgentError: If the address cannot be listened at.
    """
    runner = await server.start()
    try:
        yield
    finally:
        await server.say_goodbye()
        await runner.cleanup()


def json_response(content: Any, status: int = HTTPStatus.OK) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(text=json.dumps(content), content_type="application/json", status=status)
