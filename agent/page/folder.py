"""The page of a folder: recordings and trainings at rest, or one that is going on."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.contract.errors import AgentError
from agent.page.feed import Address
from agent.page.runs import Runs
from agent.page.server import Handler, Server, json_response, serving
from agent.page.service import open_browser, stay_behind, until_closed
from agent.page.shelf import OpenPolicy, Opinion, Shelf, form_opinion
from agent.page.viewers import Board, Texts, Viewer

_MOST_WIDTH_PX = 1280


class FolderPage:
    """Answers the requests of a folder's page. One thread reads and writes files, another forms opinions.

    Args:
        folder: The folder.
        open_policy: Opens the network that drives a game; None offers no opinion.
    """

    def __init__(self, folder: Path, open_policy: OpenPolicy | None = None) -> None:
        self._folder = folder
        self._shelf = Shelf(folder)
        self._runs = Runs(folder)
        self._open_policy = open_policy
        self._files = ThreadPoolExecutor(1, "files")
        self._opinions: dict[str, Opinion] = {}
        self._wanted = ""
        self._thinking: threading.Thread | None = None

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who answers which path."""
        return {
            "shelf": self._answering(lambda query: self._list()),
            "numbers": self._answering(lambda query: self._shelf.numbers(query["episode"])),
            "log": self._answering(lambda query: self._runs.log(query["run"])),
            "run": self._answering(lambda query: self._runs.details(query["run"])),
            "clip": self._clip,
            "opinion": self._answering(self._opinion),
            "picture": self._picture,
            "mark": self._answering(lambda query: self._shelf.mark(query["episode"], query["bad"]), post=True),
            "delete": self._answering(lambda query: self._shelf.delete(query["episode"]), post=True),
            "restore": self._answering(lambda query: self._shelf.restore(query["episode"]), post=True),
        }

    def close(self) -> None:
        """Stop working."""
        self._wanted = ""
        self._files.shutdown(wait=False, cancel_futures=True)
        if self._thinking is not None:
            self._thinking.join()

    def _list(self) -> dict[str, Any]:
        return {
            "folder": str(self._folder.resolve()),
            "episodes": self._shelf.scan(),
            "runs": self._runs.scan(),
            "opinion": self._open_policy is not None,
        }

    def _answering(self, work: Callable[[Any], Any], post: bool = False) -> Handler:
        """Return a handler that works on a request's query, or on the JSON of its body, in the files' thread."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if (request.method == "POST") != post:
                return json_response({"problem": "expected another method"}, HTTPStatus.METHOD_NOT_ALLOWED)
            try:
                query: Any = dict(request.query)
                if post:
                    query = await request.json()
                return json_response(await self._in_thread(work, query))
            except (AgentError, OSError) as exc:
                return json_response({"problem": str(exc)}, HTTPStatus.CONFLICT)
            except (ValueError, KeyError, TypeError, RecursionError) as exc:
                return json_response({"problem": f"an unexpected request: {exc}"}, HTTPStatus.BAD_REQUEST)

        return handle

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        try:
            row, width = (int(request.query.get(name, default)) for name, default in (("row", "0"), ("width", "1280")))
            width = min(max(width, 16), _MOST_WIDTH_PX)
            key = request.query["episode"]
            picture = await self._in_thread(lambda _: self._shelf.picture(key, row, width), None)
        except AgentError as exc:
            return json_response({"problem": str(exc)}, HTTPStatus.NOT_FOUND)
        except (ValueError, KeyError) as exc:
            return json_response({"problem": f"an unexpected request: {exc}"}, HTTPStatus.BAD_REQUEST)
        return web.Response(body=picture, content_type="image/jpeg")

    async def _clip(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        try:
            arguments = query["run"], query["clip"], "still" in query
            content, kind = await self._in_thread(lambda _: self._runs.clip(*arguments), None)
        except AgentError as exc:
            return json_response({"problem": str(exc)}, HTTPStatus.NOT_FOUND)
        except KeyError as exc:
            return json_response({"problem": f"an unexpected request: {exc}"}, HTTPStatus.BAD_REQUEST)
        return web.Response(body=content, content_type=kind)

    async def _in_thread(self, work: Callable[[Any], Any], query: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._files, work, query)

    def _opinion(self, query: dict[str, str]) -> dict[str, Any]:
        """Return what is known of the network's opinion on an episode; the first question has it formed."""
        key = query["episode"]
        path = self._shelf.path(key)
        if self._open_policy is None:
            raise AgentError("there is no network to ask. Pass one with --weights.")
        if key not in self._opinions or (self._wanted != key and not self._is_complete(key)):
            self._wanted = ""
            if self._thinking is not None:
                self._thinking.join()
            self._wanted, opinion = key, Opinion()
            self._opinions[key] = opinion
            arguments = (path, self._open_policy, opinion, lambda: self._wanted == key)
            self._thinking = threading.Thread(target=form_opinion, args=arguments, name="opinion", daemon=True)
            self._thinking.start()
        return self._opinions[key].to_dict(max(0, int(query.get("since", "0"))))

    def _is_complete(self, key: str) -> bool:
        opinion = self._opinions[key]
        return bool(opinion.problem) or (0 < opinion.rows == len(opinion.values))


async def serve_folder(
    folder: Path,
    address: Address,
    ready: Callable[[str], None],
    until: Callable[[], Awaitable[object]],
    open_policy: OpenPolicy | None = None,
) -> None:
    """Serve a folder's page.

    Args:
        folder: The folder.
        address: Where to listen.
        ready: Called with the page's address.
        until: Waits for the end.
        open_policy: Opens the network that drives a game.

    Raises:
        AgentError: If the address cannot be listened at.
    """
    page = FolderPage(folder, open_policy)

    async def nothing(viewer: Viewer, message: dict[str, Any]) -> None:
        """Take no messages."""

    hello = {"type": "hello", "page": os.getpid()}
    server = Server(address, Board(Texts(1)), lambda: hello, nothing, page.handlers, home="shelf.html")
    try:
        async with serving(server):
            ready(server.url)
            if address.browser:
                open_browser(server.url)
            await until()
    finally:
        page.close()


def serve_run(link: "Connection[Any, Any]", folder: Path, address: Address) -> None:
    """Serve the page of a training that goes on; the main function of its process."""
    stay_behind()

    async def serve() -> None:
        def ready(url: str) -> None:
            with suppress(OSError):
                link.send(("ready", url))

        await serve_folder(folder, address, ready, lambda: until_closed(link).wait())

    try:
        asyncio.run(serve())
    except AgentError as exc:
        with suppress(OSError):
            link.send(("failed", str(exc)))
