"""Whatever becomes of the agent, the car is let go: each fault is injected into a real process."""

import functools
import logging
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import pytest

from agent.contract.controls import AXES, NEUTRAL, Controls
from agent.contract.errors import ControllerError
from agent.controllers.base import EXPIRY_S, expiry_for
from agent.controllers.guard import client, service
from agent.controllers.guard.client import SILENCE_S, GuardedController
from agent.controllers.guard.messages import CONTROLS, HEAD, IS_CONTROLS, IS_END, IS_TAP, TAP, clock_s
from agent.controllers.guard.service import HumanDriver
from agent.system import priority

FULL = Controls(1.0, 1.0, 0.0)


class LoggingController:
    """Writes what it is sent into a file, a line each: what another process can see of a gamepad."""

    def __init__(self, path: Path, fails_at: int | None = None) -> None:
        self._path = path
        self._fails_at = fails_at
        self._sent = 0

    def __enter__(self) -> Self:
        if self._fails_at == 0:
            raise ControllerError("there is no gamepad")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._write(NEUTRAL)

    def send(self, controls: Controls) -> None:
        self._sent += 1
        if self._sent == self._fails_at:
            raise ControllerError("the gamepad went away")
        self._write(controls)

    def hold(self, name: str) -> None:
        self._write(NEUTRAL, f"+{name}")

    def release(self, name: str) -> None:
        self._write(NEUTRAL, f"-{name}")

    def _write(self, controls: Controls, tap: str = "") -> None:
        with self._path.open("a") as file:
            file.write(f"{time.monotonic()} {' '.join(map(str, controls.values))} {tap}\n")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "pad.log"
    path.touch()
    return path


def shown(log: Path) -> list[Controls]:
    return [Controls(*map(float, line.split()[1 : 1 + len(AXES)])) for line in log.read_text().splitlines()]


def wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(3000):  # two interpreters start in this time, beside whatever else keeps the machine busy
        if happened():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen within 30 s")


def tell_guard(controller: GuardedController, number: int) -> None:
    assert controller.pid is not None
    os.kill(controller.pid, number)


def stop_the_guard_with_the_pad_pressed(controller: GuardedController, log: Path) -> None:
    controller.send(FULL)
    wait_until(lambda: shown(log) == [FULL])
    tell_guard(controller, signal.SIGSTOP)


def guard(log: Path, fails_at: int | None = None) -> GuardedController:
    return GuardedController(functools.partial(LoggingController, log, fails_at))


def test_controls_arrive_and_leaving_is_neutral(log: Path) -> None:
    with guard(log) as controller:
        controller.send(FULL)
        wait_until(lambda: shown(log) == [FULL])
    assert shown(log)[-1] == NEUTRAL
    assert controller.pid is None


def test_every_axis_arrives(log: Path) -> None:
    every = Controls(*(axis.high - 0.125 * index for index, axis in enumerate(AXES)))
    with guard(log) as controller:
        controller.send(every)
        wait_until(lambda: shown(log) == [every])
    assert shown(log)[-1] == NEUTRAL


def test_an_exception_in_the_agent_is_neutral(log: Path) -> None:
    def crash(controller: GuardedController) -> None:
        controller.send(FULL)
        raise ControllerError("elsewhere")

    controller = guard(log)
    with pytest.raises(ControllerError, match="elsewhere"), controller:
        crash(controller)
    assert shown(log)[-1] == NEUTRAL


def test_a_silent_agent_is_let_go_of_and_heard_again(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    with guard(log) as controller:
        controller.send(FULL)
        wait_until(lambda: shown(log)[-1:] == [NEUTRAL])
        controller.send(FULL)
        wait_until(lambda: shown(log)[-1] == FULL)
        assert controller.expired == 1
    assert "nothing came for 150 ms: the guard let go of the controls" in caplog.text
    assert shown(log)[:3] == [FULL, NEUTRAL, FULL]


def test_controls_that_keep_coming_do_not_expire(log: Path) -> None:
    with guard(log) as controller:
        for _ in range(60):
            controller.send(FULL)
            time.sleep(EXPIRY_S / 20)
        assert controller.expired == 0
        assert set(shown(log)) == {FULL}


def test_a_slow_loop_is_not_taken_for_a_dead_one() -> None:
    assert expiry_for(1 / 30) == EXPIRY_S
    assert expiry_for(0.2) == pytest.approx(0.3)


@pytest.mark.parametrize("rate_hz", [2.0, 1.1, 1.0, 0.1, 0.05])
def test_no_loop_is_so_slow_that_controls_are_held_for_seconds(rate_hz: float) -> None:
    assert expiry_for(1 / rate_hz) == 0.5


FAULTS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "hung in native code, holding the interpreter's lock": "ctypes.PyDLL(None).sleep(20)",
    "ended without leaving the block": "os._exit(3)",
}
AGENT = """
    import ctypes, functools, os, signal, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_guard import FULL, ChattyHands, LoggingController, opened, shown, wait_until
    from agent.controllers.guard.client import GuardedController

    if __name__ == "__main__":
        log = Path({log!r})
        with GuardedController(functools.partial(LoggingController, log), {hands}) as controller:
            controller.send(FULL)
            wait_until(lambda: shown(log) == [FULL])
            {fault}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("fault", FAULTS)
def test_an_agent_that_is_no_more_is_let_go_of(log: Path, tmp_path: Path, fault: str) -> None:
    script = tmp_path / "agent_to_be_harmed.py"
    tests = str(Path(__file__).parent)
    script.write_text(textwrap.dedent(AGENT).format(log=str(log), tests=tests, hands=None, fault=FAULTS[fault]))
    process = subprocess.Popen([sys.executable, str(script)])
    try:
        wait_until(lambda: shown(log)[:1] == [FULL])
        wait_until(lambda: shown(log)[-1] == NEUTRAL)
    finally:
        process.kill()
        process.wait()


def test_a_guard_that_was_killed_is_told(log: Path) -> None:
    with guard(log) as controller:
        tell_guard(controller, signal.SIGTERM)  # which it ignores
        controller.send(FULL)
        wait_until(lambda: shown(log)[-1:] == [FULL])
        controller._process.kill()
        controller._process.join()
        with pytest.raises(ControllerError, match="the guard of the controls has ended"):
            send_for_ever(controller)


def test_a_controller_that_cannot_be_opened_says_why(log: Path) -> None:
    with pytest.raises(ControllerError, match="there is no gamepad"):
        guard(log, fails_at=0).__enter__()


def test_a_controller_that_fails_on_the_way_is_told_with_the_next_controls(log: Path) -> None:
    controller = guard(log, fails_at=2)
    with controller, pytest.raises(ControllerError, match="the gamepad went away"):
        send_for_ever(controller)
    assert shown(log)[-1] == NEUTRAL


def send_for_ever(controller: GuardedController) -> None:
    for _ in range(100):  # fewer than fill the pipe to a guard that reads none
        controller.send(FULL)
        time.sleep(0.01)


def opened(make: Callable[..., HumanDriver], *args: Path) -> Callable[[], AbstractContextManager[HumanDriver]]:
    """Return what the guard opens: hands that have nothing to close."""
    return functools.partial(_open, make, *args)


def _open(make: Callable[..., HumanDriver], *args: Path) -> AbstractContextManager[HumanDriver]:
    return nullcontext(make(*args))


class FileHands:
    """A person whose controls are in a file: nothing, or steering, and whether they reach the game by themselves."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def reach_the_game(self) -> bool:
        return self._path.read_text().endswith("keys")

    def __call__(self) -> Controls | None:
        words = self._path.read_text().split()
        return Controls(float(words[0])) if words else None


@pytest.fixture
def hands(tmp_path: Path) -> Path:
    path = tmp_path / "hands"
    path.touch()
    return path


def put(path: Path, text: str) -> None:
    """Change a file in one go."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def test_a_person_wins_whatever_the_agent_does(log: Path, hands: Path) -> None:
    by_hand = Controls(-0.7)
    with GuardedController(functools.partial(LoggingController, log), opened(FileHands, hands)) as controller:
        controller.send(FULL)
        wait_until(lambda: shown(log)[-1:] == [NEUTRAL])  # and from here on the agent says nothing
        put(hands, "-0.7")
        wait_until(lambda: shown(log)[-1:] == [by_hand])
        wait_until(lambda: controller.by_hand() == by_hand)
        controller.send(FULL)
        time.sleep(2 * EXPIRY_S)
        assert shown(log)[-1:] == [by_hand], "neither the agent's controls nor their expiry reach the pad"
        put(hands, "")
        wait_until(lambda: shown(log)[-1:] == [NEUTRAL])
        controller.send(FULL)
        wait_until(lambda: shown(log)[-1:] == [FULL])
        assert controller.by_hand() is None


def test_keys_that_reach_the_game_by_themselves_are_not_pressed_twice(log: Path, hands: Path) -> None:
    with GuardedController(functools.partial(LoggingController, log), opened(FileHands, hands)) as controller:
        controller.send(FULL)
        put(hands, "-0.7 keys")
        wait_until(lambda: controller.by_hand() == Controls(-0.7))
        controller.send(FULL)
        wait_until(lambda: shown(log)[-1:] == [NEUTRAL])


def test_a_button_is_held_for_a_while(log: Path) -> None:
    with guard(log) as controller:
        controller.expiry_s = 10.0
        controller.send(FULL)
        controller.tap("y", 0.05)
        wait_until(lambda: "-y" in log.read_text())
    lines = [line.split() for line in log.read_text().splitlines()]
    (pressed,), (released,) = ([float(line[0]) for line in lines if line[-1] == sign] for sign in ("+y", "-y"))
    assert released - pressed >= 0.05


def test_a_button_does_not_outlive_the_controls(log: Path) -> None:
    with guard(log) as controller:
        controller.send(FULL)
        controller.tap("y", 60.0)
        wait_until(lambda: "-y" in log.read_text())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_guard_that_does_not_answer_is_killed_and_what_it_held_is_let_go_of(log: Path) -> None:
    let_go = []
    controller = GuardedController(functools.partial(LoggingController, log), None, lambda: let_go.append(True))
    with controller:
        stop_the_guard_with_the_pad_pressed(controller, log)
        with pytest.raises(
            ControllerError, match=r"not answered for 80 ms, expected 2: it was stopped.* It was killed"
        ):
            send_for_ever(controller)
        assert let_go == [True]
        assert not controller._process.is_alive()


def test_a_stopped_guard_is_found_out_within_what_is_promised() -> None:
    """Neutral within 200 ms where the loop looks at its guard once a tick, 17 times a second."""
    assert 1 / 17 + SILENCE_S + client._LAST_CHANCE_S <= 0.2
    assert EXPIRY_S <= 0.15


class PreferredController(LoggingController):
    """Writes down how the system treats the guard's process."""

    def __enter__(self) -> Self:
        self._path.write_text(f"{os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK} {os.nice(0)}")
        return self


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' scheduling")
def test_the_guard_is_preferred_by_the_system_as_far_as_it_allows(log: Path) -> None:
    ask = "import os; from agent.system.priority import raise_priority; raise_priority(realtime=True); "
    tell = "print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.nice(0))"
    allowed = subprocess.run([sys.executable, "-c", ask + tell], capture_output=True, text=True, check=True).stdout
    if allowed.split() == [str(os.sched_getscheduler(0)), str(os.nice(0))]:
        pytest.skip("the system prefers no process of this user: allow it in /etc/security/limits.conf")
    with GuardedController(functools.partial(PreferredController, log)):
        assert log.read_text().split() == allowed.split()


HUMBLE_GUARD = """
import multiprocessing, os
from agent.controllers.guard.service import hold_controller
from agent.controllers.memory import MemoryController
from agent.system.priority import _scheduling

class Telling(MemoryController):
    def __enter__(self):
        print(_scheduling().runtime_ns)
        return self

def refuse(*arguments):
    raise PermissionError(1, "Operation not permitted")

os.sched_setscheduler = refuse
ours, theirs = multiprocessing.Pipe()
ours.close()
hold_controller(theirs, Telling, None)
"""


def test_a_guard_without_rights_asks_for_what_every_user_may_have() -> None:
    before = priority._scheduling()
    with priority.prompt_wakeups():
        allowed = priority._scheduling()
    if before is None or allowed is None or allowed == before:
        pytest.skip("this system knows no short slices: Linux does since 6.12")
    told = subprocess.run([sys.executable, "-c", HUMBLE_GUARD], capture_output=True, text=True, check=True, timeout=60)
    assert int(told.stdout) == allowed.runtime_ns


class Pressed:
    """A controller that stays as it was told: it is not left, so that nothing but the guard's service lets go."""

    def __init__(self) -> None:
        self.sent: list[Controls] = []
        self.held: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, controls: Controls) -> None:
        self.sent.append(controls)

    def hold(self, name: str) -> None:
        self.held.add(name)

    def release(self, name: str) -> None:
        self.held.remove(name)


def test_the_guard_lets_go_before_it_says_so_whatever_it_holds() -> None:
    ours, theirs = multiprocessing.Pipe()
    controller = Pressed()
    ours.send_bytes(HEAD.pack(IS_CONTROLS, 0) + CONTROLS.pack(clock_s(), *FULL.values, 60.0))
    ours.send_bytes(HEAD.pack(IS_TAP, 0) + TAP.pack(clock_s(), 60.0, 60.0) + b"y")
    ours.send_bytes(HEAD.pack(IS_END, 0))
    service._Service(theirs, controller, None).run()
    assert controller.sent[0] == FULL
    assert (controller.sent[-1], controller.held) == (NEUTRAL, set())
    told = []
    while ours.poll():
        told.append(ours.recv()[0])
    assert told[-1] == "neutral"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_guard_that_is_stopped_as_the_drive_ends_is_not_waited_for(log: Path) -> None:
    let_go = []
    with GuardedController(
        functools.partial(LoggingController, log), None, lambda: let_go.append(time.monotonic())
    ) as controller:
        stop_the_guard_with_the_pad_pressed(controller, log)
        ends_s = time.monotonic()
    assert let_go, "nobody else lets go of the keys of a guard that was killed"
    assert let_go[0] - ends_s < 1.0  # and not only after a join of 2 s; typically 0.1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_controls_that_waited_for_too_long_are_not_applied(log: Path) -> None:
    with guard(log) as controller:
        with controller._lock:  # nobody finds out that the guard is stopped
            stop_the_guard_with_the_pad_pressed(controller, log)
            controller.send(Controls(-0.5, 1.0, 0.0))
            time.sleep(2 * EXPIRY_S)
            tell_guard(controller, signal.SIGCONT)
            wait_until(lambda: shown(log)[-1] == NEUTRAL)
        assert shown(log) == [FULL, NEUTRAL]


class MovingHands:
    """A person whose stick moves all the time, for 6 s, and then rests: driving, straight on."""

    reach_the_game = False

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def __call__(self) -> Controls | None:
        now_s = time.monotonic() - self._began_s
        return Controls(0.5 + 0.3 * math.sin(100 * now_s), 1.0) if now_s < 6.0 else Controls()


def test_a_person_who_steers_for_long_is_followed_while_the_agent_hangs(log: Path) -> None:
    """Reports that nobody reads once filled the pipe after some 280 of them, and the guard waited there for ever."""
    with GuardedController(functools.partial(LoggingController, log), opened(MovingHands)) as controller:
        with controller._lock:
            time.sleep(6.5)  # in which the agent says and reads nothing
        assert shown(log)[-1] == Controls()
        controller.send(FULL)
        wait_until(lambda: controller.by_hand() == Controls())  # and it hears the newest, not what was reported first


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_ctrl_z_stops_the_agent_and_not_its_guard(log: Path, tmp_path: Path) -> None:
    script = tmp_path / "agent_to_be_stopped.py"
    tests = str(Path(__file__).parent)
    script.write_text(textwrap.dedent(AGENT).format(log=str(log), tests=tests, hands=None, fault="time.sleep(60)"))
    process = subprocess.Popen([sys.executable, str(script)], process_group=0)
    try:
        wait_until(lambda: shown(log)[:1] == [FULL])
        os.killpg(process.pid, signal.SIGTSTP)  # as a terminal does
        wait_until(lambda: shown(log)[-1] == NEUTRAL)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_what_a_terminal_sends_does_not_end_or_stop_the_guard(log: Path) -> None:
    with guard(log) as controller:
        for name in service._TERMINAL_SIGNALS:
            tell_guard(controller, getattr(signal, name))
        controller.send(FULL)
        wait_until(lambda: shown(log) == [FULL])


@pytest.mark.skipif(sys.platform == "win32", reason="sessions of Unix")
def test_the_guard_has_a_session_of_its_own_so_that_no_busy_program_shares_its_time(log: Path) -> None:
    with guard(log) as controller:
        assert os.getsid(controller.pid or 0) == controller.pid != os.getsid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_guard_stays_in_memory(log: Path) -> None:
    with guard(log) as controller:
        status = Path(f"/proc/{controller.pid}/status").read_text()
    locked_kb = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmLck:")]
    import resource

    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < 1 << 22:
        pytest.skip("this user may lock hardly any memory: ulimit -l")
    assert locked_kb[0] > 500


class ChattyHands:
    """A person who does not drive, and of whom there is more to be said than a terminal that is held takes."""

    reach_the_game = False

    def __call__(self) -> Controls | None:
        logging.getLogger(__name__).warning("x" * 4096)
        return None


def test_a_terminal_that_takes_nothing_does_not_hold_the_guard(log: Path, tmp_path: Path) -> None:
    script = tmp_path / "agent_on_a_held_terminal.py"
    tests = str(Path(__file__).parent)
    text = textwrap.dedent(AGENT).format(
        log=str(log), tests=tests, hands="opened(ChattyHands)", fault="time.sleep(1.0); os._exit(3)"
    )
    script.write_text(text)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)  # and nobody reads it
    try:
        wait_until(lambda: shown(log)[:1] == [FULL])
        wait_until(lambda: shown(log)[-1] == NEUTRAL)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_slow_loop_does_not_wait_for_its_next_tick_to_notice_a_guard_that_is_stopped(log: Path) -> None:
    """At 5 ticks a second it was killed two ticks after, 420 ms."""
    with guard(log) as controller:
        stop_the_guard_with_the_pad_pressed(controller, log)
        time.sleep(2 * SILENCE_S)
        with pytest.raises(ControllerError, match="has not answered"):
            controller.send(FULL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_guard_that_hangs_between_two_controls_of_a_slow_loop_is_found_out_soon(log: Path) -> None:
    """At 1 Hz it was found out with the next controls, after a second, and held the last ones until then."""
    let_go = []
    with GuardedController(
        functools.partial(LoggingController, log), None, lambda: let_go.append(time.monotonic())
    ) as controller:
        controller.expiry_s = expiry_for(1.0)
        controller.send(FULL)
        wait_until(lambda: shown(log) == [FULL])
        wait_until(lambda: not controller._unanswered)
        tell_guard(controller, signal.SIGSTOP)
        stopped_s = time.monotonic()
        wait_until(lambda: bool(let_go))
        assert let_go[0] - stopped_s < 0.8  # 0.4 on a machine that is not busy
        with pytest.raises(ControllerError, match="has not answered"):
            controller.send(FULL)


class RestingHands:
    """A person who drives straight on, and does not move."""

    reach_the_game = False

    def __call__(self) -> Controls | None:
        return Controls(0.0, 0.5)


class LatchingController(LoggingController):
    """Shows buttons with the next controls alone, as a gamepad does."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._held = ""

    def send(self, controls: Controls) -> None:
        self._write(controls, self._held or "up")

    def hold(self, name: str) -> None:
        self._held = name

    def release(self, name: str) -> None:
        self._held = ""


def test_a_button_comes_up_while_a_person_drives_and_the_agent_hangs(log: Path) -> None:
    with GuardedController(functools.partial(LatchingController, log), opened(RestingHands)) as controller:
        controller.tap("y", 0.1)
        controller.send(FULL)
        wait_until(lambda: log.read_text().endswith(" y\n"))
        wait_until(lambda: log.read_text().endswith(" up\n"))  # and from here on the agent says nothing
        assert shown(log)[-1] == Controls(0.0, 0.5)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_tap_that_waited_for_too_long_is_not_done(log: Path) -> None:
    with guard(log) as controller:
        with controller._lock:  # nobody finds out that the guard is stopped
            stop_the_guard_with_the_pad_pressed(controller, log)
            controller.tap("y", 1.0)
            time.sleep(2 * EXPIRY_S)
            tell_guard(controller, signal.SIGCONT)
            wait_until(lambda: shown(log)[-1] == NEUTRAL)
            time.sleep(0.1)
        assert "+y" not in log.read_text()


def test_a_button_is_let_go_of_though_no_controls_came_before_it(log: Path) -> None:
    with guard(log) as controller:
        controller.tap("y", 60.0)
        wait_until(lambda: "-y" in log.read_text())


def test_an_answer_that_nobody_counted_on_does_no_harm() -> None:
    """Ctrl-C between writing a message and counting it left an answer too many, and the way out failed on it."""
    controller = GuardedController(functools.partial(LoggingController, Path("unused")))
    controller._hear("report", (1, 0, None))
    assert controller.expired == 0


def test_ctrl_c_while_the_guard_starts_leaves_none(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = guard(log)
    hear, interrupts = controller._hear, iter([KeyboardInterrupt])

    def interrupted_once(*report: Any) -> None:
        for interrupt in interrupts:
            raise interrupt
        hear(*report)

    monkeypatch.setattr(controller, "_hear", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        controller.__enter__()
    left = [child for child in multiprocessing.active_children() if child.name == "guard"]
    for child in left:
        child.kill()  # nothing else would: pytest waits for it, and it ignores what ends others
    assert not left
    assert controller.pid is None
