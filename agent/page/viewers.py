"""Those who look at the page: each gets what is newest, as fast as it takes it, and none makes another wait."""

import asyncio
import json
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

MAX_VIEWERS = 16
"""More are refused: each costs the page's process some time, and nobody needs more."""
MAX_MESSAGE_BYTES = 4096
"""The longest message that is read from a viewer."""
_MESSAGES_PER_S = 50  # a key held down repeats 30 times a second
_PATIENCE_S = 20.0  # a viewer that takes nothing for that long is gone

GAME, INPUT, EVIDENCE, MAPS, OCCLUSION = 1, 2, 3, 4, 5
"""Kinds of pictures; the last one comes when it was asked for."""
PICTURES = {"game": GAME, "input": INPUT, "evidence": EVIDENCE, "maps": MAPS}
"""The names that a viewer asks for them by."""
_HEAD = struct.Struct("<B3xd")


@dataclass(slots=True)
class Texts:
    """Texts for all viewers, each with a running number; only the newest are kept.

    Args:
        most: How many are kept.
    """

    most: int
    _texts: deque[str] = field(init=False)
    newest: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._texts = deque(maxlen=self.most)

    def add(self, text: str) -> None:
        """Add one, and forget the oldest if there are too many."""
        self._texts.append(text)
        self.newest += 1

    def after(self, number: int) -> list[str]:
        """Return the kept ones after this number."""
        missing = min(self.newest - number, len(self._texts))
        return [self._texts[index] for index in range(len(self._texts) - missing, len(self._texts))]


@dataclass(slots=True)
class Board:
    """What is newest: the same for all viewers.

    Attributes:
        ticks: Every tick's row of the last seconds, as JSON.
        notes: The last notes, as JSON.
    """

    ticks: Texts
    notes: Texts = field(default_factory=lambda: Texts(200))
    _pictures: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def show(self, kind: int, stamp: float, picture: bytes) -> None:
        """Replace the picture of a kind."""
        number = self._pictures.get(kind, (0, b""))[0] + 1
        self._pictures[kind] = number, _HEAD.pack(kind, stamp) + picture

    def picture(self, kind: int) -> tuple[int, bytes]:
        """Return the newest picture of a kind and its running number; 0 before the first one."""
        return self._pictures.get(kind, (0, b""))


class Viewer:
    """One open page.

    Args:
        socket: The connection.
        board: What there is to see.
        hello: The first message.

    Attributes:
        wants: Names of the pictures that it shows now.
        at: The tick that it looks at; None while it looks at the newest.
        output: The output whose evidence it wants; empty for the first.
        layer: The layer whose maps it wants; empty for the last two.
    """

    def __init__(self, socket: web.WebSocketResponse, board: Board, hello: dict[str, Any]) -> None:
        self.wants: frozenset[str] = frozenset()
        self.at: int | None = None
        self.output = self.layer = ""
        self._socket = socket
        self._board = board
        self._hello = hello
        self._news = asyncio.Event()
        self._ticks = self._notes = 0
        self._pictures: dict[int, int] = {}
        self._own: dict[int, bytes] = {}
        self._said: deque[str] = deque(maxlen=20)
        self._messages = 0
        self._second = 0

    @property
    def is_behind(self) -> bool:
        """Whether there are notes that it has not been sent."""
        return self._notes < self._board.notes.newest

    def wake(self) -> None:
        """Say that there is something new."""
        self._news.set()

    def say(self, message: dict[str, Any]) -> None:
        """Send a message to this viewer alone."""
        self._said.append(json.dumps(message))
        self.wake()

    def show(self, kind: int, stamp: float, picture: bytes) -> None:
        """Send a picture to this viewer alone, in place of one that it has not got yet."""
        self._own[kind] = _HEAD.pack(kind, stamp) + picture
        self.wake()

    async def close(self, code: int) -> None:
        """Close the connection, at once if the viewer does not answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await self._socket.close(code=code)

    async def send_all(self) -> None:
        """Send what is new, until the connection is closed or takes nothing for too long."""
        await self._send(json.dumps(self._hello))
        self._news.set()
        while not self._socket.closed:
            await self._news.wait()
            self._news.clear()
            for message in self._new():
                await self._send(message)

    async def _send(self, message: str | bytes) -> None:
        send = self._socket.send_str if isinstance(message, str) else self._socket.send_bytes
        async with asyncio.timeout(_PATIENCE_S):
            await send(message)  # type: ignore[arg-type]

    def _new(self) -> Iterator[str | bytes]:
        while self._said:
            yield self._said.popleft()
        board = self._board
        if notes := board.notes.after(self._notes):
            self._notes = board.notes.newest
            yield f'{{"type":"notes","newest":{board.notes.newest},"notes":[{",".join(notes)}]}}'
        if rows := board.ticks.after(self._ticks):
            self._ticks = board.ticks.newest
            yield f'{{"type":"ticks","rows":[{",".join(rows)}]}}'
        while self._own:
            yield self._own.popitem()[1]
        for name in self.wants:
            kind = PICTURES[name]
            number, picture = board.picture(kind)
            if number != self._pictures.get(kind, 0):
                self._pictures[kind] = number
                yield picture

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the viewer's messages, each a JSON object, until it leaves or breaks the rules."""
        async for message in self._socket:
            if message.type != WSMsgType.TEXT or not self._is_in_time():
                await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many or unknown messages")
                return
            try:
                content = json.loads(message.data)
            except (ValueError, RecursionError):
                content = None
            if not isinstance(content, dict):
                await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"expected a JSON object")
                return
            self._obey(content)
            yield content

    def _obey(self, content: dict[str, Any]) -> None:
        if not isinstance(wants := content.get("wants"), list):
            return
        self.wants = frozenset(name for name in wants if isinstance(name, str)) & PICTURES.keys()
        at, output, layer = (content.get(name) for name in ("at", "output", "layer"))
        self.at = at if type(at) is int else None
        self.output, self.layer = (each if isinstance(each, str) else "" for each in (output, layer))
        self.wake()

    def _is_in_time(self) -> bool:
        second = int(time.monotonic())
        self._messages = self._messages + 1 if second == self._second else 1
        self._second = second
        return self._messages <= _MESSAGES_PER_S
