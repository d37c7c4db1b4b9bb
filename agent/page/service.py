"""The page's process: ends with the program that started it, and yields the processor to it."""

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import cv2

from agent.contract.errors import AgentError
from agent.page.feed import Address
from agent.page.live import Live
from agent.page.records import Facts, PageMemory
from agent.page.server import Server, serving
from agent.page.viewers import Viewer

_POLL_S = 0.015
"""How often the shared memory is looked at: a third of a control period at 20 Hz and less than half of one at 30 Hz."""
_NICE = 10  # the drive and the game come first


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

    def hello() -> dict[str, Any]:
        return {"type": "hello", "facts": memory.facts.to_dict(), "page": os.getpid()}

    async def answer(viewer: Viewer, message: dict[str, Any]) -> None:
        pass

    server = Server(address, live.board, hello, answer)
    async with serving(server):
        gone = until_closed(link)
        with suppress(OSError):
            link.send(("ready", server.url))
        if address.browser:
            open_browser(server.url)
        while not gone.is_set():
            if live.read(server.wanted):
                server.wake()
            with suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), _POLL_S)
        if live.read(frozenset()):  # the last words
            server.wake()
            await asyncio.sleep(0.05)


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
