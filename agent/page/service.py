"""The page's process: ends with the program that started it, and yields the processor to it."""

import asyncio
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import cv2

from agent.contract.errors import AgentError
from agent.inputs.keyboard import Hotkeys
from agent.page.covering import Coverer
from agent.page.feed import Address
from agent.page.insight import Insight
from agent.page.keeping import keep
from agent.page.live import Live
from agent.page.records import Facts, PageMemory
from agent.page.server import Server, serving
from agent.page.viewers import Viewer

_POLL_S = 0.015
"""How often the shared memory is looked at: a third of a control period at 20 Hz and less than half of one at 30 Hz."""
_LAST_WORDS_S = 1.0  # how long viewers may take to hear of the end
_KEEP_PERIOD_S = 10.0
_NICE = 10  # the drive and the game come first
_log = logging.getLogger(__name__)


def serve_drive(link: "Connection[Any, Any]", facts: Facts, name: str, address: Address, started_ns: int) -> None:
    """Serve the page of a drive; the main function of its process."""
    stay_behind()
    memory = PageMemory(facts, name)
    try:
        asyncio.run(_serve_drive(link, memory, address))
    except AgentError as exc:
        with suppress(OSError):
            link.send(("failed", str(exc)))
    finally:
        memory.close(unlink=False)


async def _serve_drive(link: "Connection[Any, Any]", memory: PageMemory, address: Address) -> None:
    live = Live(memory)
    insight = Insight(memory.facts, live.observation, live.weights)
    coverer = Coverer(memory.facts, live.observation, live.weights, lambda viewer: viewer in server.viewers)
    keeper = _Keeper(live, lambda: server.wake())

    def hello() -> dict[str, Any]:
        facts = memory.facts.to_dict()
        return {"type": "hello", "facts": facts, "page": os.getpid(), "insight": insight.is_possible}

    async def answer(viewer: Viewer, message: dict[str, Any]) -> None:
        if "ask" in message:
            viewer.say({"type": "alive"})
        if "occlude" in message:
            coverer.hear(viewer, message["occlude"], message.get("output"))
        if message.get("keep") is True:
            text, failed = await keeper.keep()
            viewer.say({"type": "kept", "text": text, "failed": failed})

    server = Server(address, live.board, hello, answer)
    async with AsyncExitStack() as stack:
        stack.callback(coverer.close)
        await stack.enter_async_context(serving(server))
        await stack.enter_async_context(alongside(insight.serve(lambda: server.viewers)))
        gone = until_closed(link)
        with suppress(OSError):
            link.send(("ready", server.url))
        await stack.enter_async_context(alongside(keeper.hear()))
        if address.browser:
            open_browser(server.url)
        while not gone.is_set():
            if live.read(server.wanted):
                server.wake()
            with suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), _POLL_S)
        if live.read(frozenset()):  # the last words
            server.wake()
            await server.wait_until_told(_LAST_WORDS_S)


class _Keeper:
    """Keeps the last 30 s, one at a time, and not the same ticks again and again: that would fill the disk.

    Args:
        live: The drive.
        wake: Called when there is something new to say to the viewers.
    """

    def __init__(self, live: Live, wake: Callable[[], None]) -> None:
        self._live = live
        self._wake = wake
        self._is_busy = False
        self._next_s = -math.inf

    async def hear(self) -> None:
        """Keep them whenever the hotkey is pressed, until cancelled; the page says what became of it.

        It is this process that hears the key: the drive has nothing to do with it.
        """
        if not (key := self._live.facts.keep_key):
            return
        loop, pressed = asyncio.get_running_loop(), asyncio.Event()

        def press() -> None:  # in the keyboard's thread
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(pressed.set)

        hotkeys = Hotkeys({key: press})
        try:
            await asyncio.to_thread(hotkeys.__enter__)
        except Exception as exc:  # the page's button is still there
            self._tell(kind="hotkey", key="", text=f"no hotkey for the last 30 s: {exc}")
            return
        self._tell(kind="hotkey", key=key)
        try:
            while await pressed.wait():
                pressed.clear()
                text, failed = await self.keep()
                self._tell(kind="kept", text=text, failed=failed)
        finally:
            hotkeys.__exit__()

    def _tell(self, **note: Any) -> None:
        self._live.board.notes.add(json.dumps(note))
        self._wake()

    async def keep(self) -> tuple[str, bool]:
        """Return what became of it, and whether it failed."""
        if self._is_busy or time.monotonic() < self._next_s:
            return f"kept moments ago, expected {_KEEP_PERIOD_S:.0f} s between two", True
        self._is_busy = True
        facts, seed, remembered = self._live.facts, self._live.seed, self._live.remembered()
        facts = replace(facts, driver=self._live.weights().driver)
        try:
            kept = await asyncio.to_thread(keep, facts, seed, remembered)
        except (AgentError, OSError) as exc:
            return str(exc), True
        except Exception as exc:  # the page, and the next key, go on
            _log.warning("the last 30 s could not be kept", exc_info=exc)
            return f"the last 30 s could not be kept ({type(exc).__name__}: {exc})", True
        finally:
            self._is_busy = False
        self._next_s = time.monotonic() + _KEEP_PERIOD_S
        return f"kept {kept.seconds:.0f} s: {kept.episode} and its film {kept.film.name}", False


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something else while the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def until_closed(link: "Connection[Any, Any]") -> asyncio.Event:
    """Return an event that is set when the program at the other end of the pipe closes it, or ends."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        with suppress(EOFError, OSError):
            link.recv()  # nothing is ever sent
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(gone.set)

    threading.Thread(target=wait, name="until the drive ends", daemon=True).start()
    return gone


def stay_behind() -> None:
    """Leave Ctrl-C to the program that started this process, and the processor to everything else."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        with suppress(OSError):
            os.nice(_NICE)
    cv2.setNumThreads(1)


def open_browser(url: str) -> None:
    """Open the address in the user's browser, if there is one with a window."""
    import webbrowser

    def open_it() -> None:
        with suppress(webbrowser.Error):
            browser = webbrowser.get()
            in_terminal = isinstance(browser, webbrowser.GenericBrowser) and not isinstance(
                browser, webbrowser.BackgroundBrowser
            )
            if not in_terminal:
                browser.open(url)

    threading.Thread(target=open_it, name="browser", daemon=True).start()
