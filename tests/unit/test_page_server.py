"""The page's web server, asked as browsers ask it, and as others do."""

import asyncio
import json
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from agent.contract.errors import AgentError
from agent.page import viewers
from agent.page.feed import Address
from agent.page.server import Server, built_files, serving
from agent.page.viewers import GAME, MAX_MESSAGE_BYTES, MAX_VIEWERS, Board, Texts, Viewer

Visit = Callable[[Server, ClientSession], Awaitable[None]]


def visit(what: Visit, token: str = "", board: Board | None = None) -> list[dict[str, Any]]:
    """Serve a board to ``what``; return the messages that the server was sent."""
    heard: list[dict[str, Any]] = []

    async def answer(viewer: Viewer, message: dict[str, Any]) -> None:
        heard.append(message)

    async def run() -> None:
        server = Server(Address(token=token), board or Board(Texts(100)), lambda: {"type": "hello"}, answer)
        async with serving(server), ClientSession() as session:
            await what(server, session)

    asyncio.run(run())
    return heard


def test_the_page_and_its_files_are_served_with_strict_headers() -> None:
    async def look(server: Server, session: ClientSession) -> None:
        for path, kind in (("", "text/html"), ("app.js", "text/javascript"), ("app.css", "text/css")):
            async with session.get(server.url + path) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                assert (await answer.read()) == built_files()[path or "index.html"][0]
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "Set-Cookie" not in answer.headers
                assert "Access-Control-Allow-Origin" not in answer.headers

    visit(look)


@pytest.mark.parametrize(
    "path",
    [
        *("server.py", "../server.py", "..%2fserver.py", "%2e%2e/server.py", "built/app.js", "./../../pyproject.toml"),
        *(
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "..\\server.py",
            "app.js%00",
            "app.js/",
            "app.js/..",
            "C:/x",
            "live/../app.js",
        ),
        *("?app.js", "sources.json?x=../..", "a" * 5000),
    ],
)
def test_a_path_leads_to_the_page_s_own_files_or_nowhere(path: str) -> None:
    async def look(server: Server, session: ClientSession) -> None:
        port = int(server.url.split(":")[2].strip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # aiohttp would tidy the path up
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        if head.split()[1] == b"200":
            assert body in [content for content, _ in built_files().values()]
            assert path in ("?app.js", "sources.json?x=../..")
        else:
            assert head.split()[1] in (b"404", b"400", b"403")

    visit(look)


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_foreign_page_gets_neither_files_nor_the_drive(headers: dict[str, str]) -> None:
    async def look(server: Server, session: ClientSession) -> None:
        for path in ("", "app.js", "nowhere"):
            async with session.get(server.url + path, headers=headers) as answer:
                assert answer.status == 403
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect(server.url + "live", headers=headers)
        assert refused.value.status == 403

    visit(look)


def test_without_the_token_nothing_is_served() -> None:
    async def look(server: Server, session: ClientSession) -> None:
        assert server.url.endswith("/a-token/")
        root = server.url.removesuffix("a-token/")
        for path in ("", "app.js", "live", "a-token", "b-token/", "b-token%2fa-token/"):
            async with session.get(root + path) as answer:
                assert answer.status == 403, path
        async with session.get(server.url) as answer:
            assert answer.status == 200
        socket = await session.ws_connect(server.url + "live", origin=root.removesuffix("/"))
        assert await socket.receive_json() == {"type": "hello"}

    visit(look, token="a-token")


def test_a_viewer_gets_what_is_new_and_only_the_pictures_that_it_wants() -> None:
    board = Board(Texts(3))

    async def look(server: Server, session: ClientSession) -> None:
        for number in range(5):
            board.ticks.add(str(number))
        board.notes.add('{"kind":"begin"}')
        board.show(GAME, 5, b"picture")
        socket = await session.ws_connect(server.url + "live")
        assert await socket.receive_json() == {"type": "hello"}
        assert await socket.receive_json() == {"type": "notes", "newest": 1, "notes": [{"kind": "begin"}]}
        assert await socket.receive_json() == {"type": "ticks", "rows": [2, 3, 4]}
        assert server.wanted == frozenset()
        await socket.send_json({"wants": ["game", "nonsense", 7]})
        assert await socket.receive_bytes() == struct.pack("<B3xd", GAME, 5) + b"picture"
        assert server.wanted == {"game"}
        board.ticks.add("5")
        server.wake()
        assert await socket.receive_json() == {"type": "ticks", "rows": [5]}
        await socket.close()

    assert visit(look, board=board) == [{"wants": ["game", "nonsense", 7]}]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x" * (MAX_MESSAGE_BYTES + 1), 1009),
        *(("[1]", 1008), ("{", 1008), ("[" * 4000, 1008), (b"bytes", 1008)),
    ],
)
def test_a_message_that_is_too_long_or_unknown_ends_the_connection(message: str | bytes, code: int) -> None:
    async def look(server: Server, session: ClientSession) -> None:
        socket = await session.ws_connect(server.url + "live")
        await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        async for received in socket:
            assert received.type == WSMsgType.TEXT
        assert socket.close_code == code

    assert visit(look) == []


def test_a_viewer_that_floods_is_sent_away() -> None:
    async def look(server: Server, session: ClientSession) -> None:
        socket = await session.ws_connect(server.url + "live")
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                while server.viewers:
                    await socket.send_str("{}")
                    await asyncio.sleep(0)
        assert not server.viewers

    assert 50 <= len(visit(look)) <= 200


def test_more_viewers_than_there_is_room_for_are_refused_and_the_others_stay() -> None:
    board = Board(Texts(10))

    async def look(server: Server, session: ClientSession) -> None:
        sockets = [await session.ws_connect(server.url + "live") for _ in range(MAX_VIEWERS)]
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect(server.url + "live")
        assert refused.value.status == 503
        board.ticks.add("1")
        server.wake()
        for socket in sockets:
            assert await socket.receive_json() == {"type": "hello"}
            assert await socket.receive_json() == {"type": "ticks", "rows": [1]}
        await sockets[0].close()
        await asyncio.sleep(0.05)
        await (await session.ws_connect(server.url + "live")).close()

    visit(look, board=board)


def test_a_viewer_that_takes_nothing_makes_nobody_wait_and_is_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "_PATIENCE_S", 0.5)
    board = Board(Texts(10))
    picture = bytes(1_000_000)

    async def look(server: Server, session: ClientSession) -> None:
        port = int(server.url.split(":")[2].strip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        upgrade = f"Host: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
        writer.write(f"GET /live HTTP/1.1\r\n{upgrade}".encode())
        text = json.dumps({"wants": ["game"]}).encode()
        writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)  # a frame, masked with zeros
        await reader.readuntil(b"\r\n\r\n")  # and from here on it reads nothing
        other = await session.ws_connect(server.url + "live", max_msg_size=2_000_000)
        await other.send_json({"wants": ["game"]})
        received = 0
        end = time.monotonic() + 15  # less than a heartbeat, which would find it out as well
        while len(server.viewers) == 2 or received < 5:
            assert time.monotonic() < end, "it is still there"
            board.show(GAME, received, picture)
            server.wake()
            async with asyncio.timeout(5):
                while (await other.receive()).type != WSMsgType.BINARY:
                    pass
            received += 1
            await asyncio.sleep(0.01)
        assert len(server.viewers) == 1
        assert received >= 5
        writer.close()

    visit(look, board=board)


def test_a_port_that_is_taken_is_one_line_and_the_usual_one_moves_on() -> None:
    async def look(server: Server, session: ClientSession) -> None:
        port = int(server.url.split(":")[2].strip("/"))

        async def nothing(viewer: Viewer, message: dict[str, Any]) -> None:
            pass

        another = Server(Address(port=port), Board(Texts(1)), dict, nothing)
        with pytest.raises(AgentError, match=f"cannot listen at 127.0.0.1, port {port} .* Pass another one with"):
            await another.start()
        usual = Server(Address(), Board(Texts(1)), dict, nothing)
        async with serving(usual):
            assert usual.url != server.url

    visit(look)
