"""The page in a real browser: Chromium looks at a drive, steps through it, keeps it, and marks a recording."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from small_model import write_model

from agent.contract.controls import NEUTRAL, Controls
from agent.contract.episodes.edits import read_edits
from agent.contract.episodes.reading import Episode
from agent.contract.observation import Frame
from agent.contract.spec import outputs_named
from agent.observers.base import BlindTick, DrivenTick, LateTick
from agent.page.feed import Address, Page, page_of_folder
from agent.page.records import Facts, Weights
from agent.page.runs import BUFFERS, CLIPS
from agent.system.pacing import TickStats, clock_ns
from training.data.balance_report import read_labels
from training.data.fed import Fed
from training.fitting.clips import ClipWriter
from training.fitting.config import LOG, SETTINGS, FitConfig

pytestmark = pytest.mark.game

ROOT = Path(__file__).parents[2]
AXES = ("steering", "throttle", "brake")
RATE_HZ = 50.0
SLOWLY_MS = 120_000.0
"""Longer than anything takes on an idle machine; a busy one is given the time."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs `apt install chromium`")
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab in which nothing may go wrong: no error of a script, nothing that the policy refuses."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(SLOWLY_MS)
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield tab
    tab.close()
    ended = "ERR_CONNECTION_REFUSED"  # a program that has ended is asked again and again
    assert [text for text in wrong if ended not in text] == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("small"))


class Drive:
    """Feeds a page from a thread: an ordinary drive, into which things can be made to happen."""

    def __init__(self, page: Page) -> None:
        self.happens = ""
        self.ticks = 0
        self.swaps = 0
        self.weights = Weights()
        self._observer = page.of(TickStats(1 / RATE_HZ), seed=7, swaps=lambda: self.swaps, weights=lambda: self.weights)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._go)

    def __enter__(self) -> "Drive":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.set()
        self._thread.join()

    def _go(self) -> None:
        game = np.random.default_rng(0).integers(0, 256, (200, 320, 4), np.uint8)
        with self._observer as observer:
            while not self._ends.wait(1 / RATE_HZ):
                happens, now = self.happens, clock_ns()
                controls = Controls(round(np.sin(self.ticks / 50), 3), 0.5, 0.0)
                frame = Frame(np.roll(game, self.ticks, axis=1), now, self.ticks)
                seen = np.full((8, 12, 3), self.ticks % 256, np.uint8)
                what = (self.ticks, frame, seen, controls.to_array(), controls)
                sections = {"capture": 0.001, "preprocess": 0.001, "infer": 0.004, "send": 0.0}
                if happens == "blind":
                    observer.on_tick(BlindTick(self.ticks, "the window is gone", NEUTRAL, {}, now))
                elif happens == "late":
                    observer.on_tick(LateTick(*what, 0.3, sections, now))
                else:
                    stuck = "recovering" if happens == "stuck" else "free"
                    by_hand = happens == "person"
                    observer.on_tick(DrivenTick(*what, 0.007, sections, now, by_hand, stuck))
                self.ticks += 1


@pytest.fixture
def facts(model: Path, tmp_path: Path) -> Facts:
    return Facts(
        *("A road", "carracing", "small", "openvino", "policy:small", RATE_HZ, AXES, AXES, (8, 12, 3)),
        folder=str(model),
        keep=str(tmp_path / "kept"),
        made_s=time.time() - 7300,
    )


@pytest.fixture
def drive(facts: Facts) -> Iterator[tuple[Drive, Page]]:
    with Page(facts, Address()) as page, Drive(page) as drive:
        yield drive, page


def number(tab: Any, name: str) -> float:
    """Return a line of the console as a number."""
    line = tab.locator("#console div", has_text=re.compile(rf"^{re.escape(name)}"))
    return float(line.locator("dd").inner_text().split()[0])


def stamp(tab: Any, kind: str) -> float:
    return float(tab.locator(f"#{kind}[data-stamp]").get_attribute("data-stamp"))


def until(tab: Any, met: Any) -> None:
    end = time.monotonic() + SLOWLY_MS / 1e3
    while not met():
        assert time.monotonic() < end, "waited in vain"
        tab.wait_for_timeout(50)


def test_pictures_move_and_can_be_stepped_through(drive: tuple[Drive, Page], tab: Any) -> None:
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    first = stamp(tab, "game"), stamp(tab, "input"), number(tab, "tick")
    until(
        tab, lambda: all(stamp(tab, kind) > first[0] for kind in ("game", "input")) and number(tab, "tick") > first[2]
    )
    tab.wait_for_timeout(1500)
    tab.keyboard.press("Space")
    tab.wait_for_selector("body.paused")
    paused = number(tab, "tick")
    for key, step in (("ArrowLeft", -1), ("ArrowLeft", -2), ("ArrowRight", -1), ("PageUp", -1 - RATE_HZ)):
        tab.keyboard.press(key)
        until(tab, lambda: number(tab, "tick") == paused + step)  # noqa: B023  (called at once)
    at = number(tab, "tick")
    until(tab, lambda: stamp(tab, "input") <= at)
    expected = round(np.sin((at - 1) / 50), 3)  # ticks count from 1 here
    assert number(tab, "steering") == pytest.approx(expected, abs=0.006)
    assert "paused" in tab.inner_text("#said")
    tab.keyboard.press("Escape")
    until(tab, lambda: number(tab, "tick") > paused)


def test_everything_that_happens_appears(drive: tuple[Drive, Page], tab: Any) -> None:
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    for happens, text in (
        ("person", "a person has the wheel"),
        ("blind", "blind: the window is gone"),
        ("late", "a decision came too late"),
        ("stuck", "stuck: recovering"),
    ):
        drive[0].happens = happens
        tab.locator("#events li", has_text=text).first.wait_for()
    drive[0].happens = ""
    tab.locator("#events li", has_text="free again").first.wait_for()
    drive[0].swaps = 1
    tab.locator("#events li", has_text="other weights drive now").first.wait_for()


def test_convcam_and_evidence_come_live_and_for_a_tick_that_was_stepped_to(
    drive: tuple[Drive, Page], tab: Any, tmp_path: Path
) -> None:
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    tab.click("#evidence-panel summary")
    tab.click("#maps-panel summary")
    for kind in ("evidence", "maps"):
        tab.wait_for_selector(f"#{kind}[data-stamp]")
    tab.select_option("#layer", "third")
    tab.select_option("#output", "brake")
    before = stamp(tab, "maps")
    until(tab, lambda: stamp(tab, "maps") > before)
    tab.keyboard.press("Escape")
    tab.click("#pause")
    tab.keyboard.press("PageUp")
    at = number(tab, "tick")
    until(tab, lambda: stamp(tab, "evidence") == stamp(tab, "maps") == at)
    tab.keyboard.press("k")
    tab.locator("#said", has_text="kept").wait_for()
    (episode,) = (tmp_path / "kept").glob("*.parquet")
    assert len(Episode.open(episode)) > 10
    assert episode.with_suffix(".mp4").stat().st_size > 0


def test_after_a_swap_the_panels_show_the_weights_that_drive(
    drive: tuple[Drive, Page], tab: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    tab.click("#maps-panel summary")
    tab.locator("#weights", has_text="as small sees it").wait_for()
    before = number(tab, "tick")
    other = write_model(tmp_path_factory.mktemp("other"), seed=6)
    drive[0].weights = Weights("policy:small-12", "openvino", str(other))
    drive[0].swaps = 1
    tab.locator("#weights", has_text="as small-12 sees it").wait_for()
    tab.locator("#events li", has_text="other weights drive now: small-12").wait_for()
    assert tab.inner_text("#model").startswith("small-12 on openvino")
    until(tab, lambda: stamp(tab, "maps") > before)
    tab.click("#pause")
    tab.click("#charts")
    tab.keyboard.press("Home")  # a tick of the weights before
    tab.locator("#weights", has_text="as small sees it").wait_for()
    tab.keyboard.press("Escape")
    tab.locator("#weights", has_text="as small-12 sees it").wait_for()
    drive[0].weights = Weights("policy:far-away", "openvino")
    drive[0].swaps = 2
    tab.locator("#weights", has_text="the folder of far-away is not known").wait_for()
    tab.wait_for_selector("#maps:not([data-stamp])")


def test_an_occlusion_map_is_computed_for_a_paused_picture(drive: tuple[Drive, Page], tab: Any) -> None:
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    tab.locator("#occlusion-panel summary").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#occlude").is_disabled(), "there is one picture only while paused"
    tab.click("#pause")
    tab.keyboard.press("ArrowLeft")
    at = number(tab, "tick")
    tab.select_option("#occluded", "brake")
    tab.get_by_role("button", name="Compute for this picture").focus()
    tab.keyboard.press("Enter")
    tab.locator("#occlusion-said", has_text=f"tick {at:.0f}, brake of small: covering").wait_for()
    tab.wait_for_selector(f'#occlusion[data-stamp="{at:.0f}"]')
    assert "What matters to brake in tick" in tab.get_attribute("#occlusion", "aria-label")
    assert tab.locator("#occlusion-progress").is_hidden()
    tab.keyboard.press("Escape")
    until(tab, lambda: number(tab, "tick") > at)
    assert tab.locator("#occlude").is_disabled()


def test_a_hotkey_pressed_in_any_window_keeps_once_and_the_page_says_so(
    server: str, facts: Facts, tab: Any, tmp_path: Path
) -> None:
    with Page(replace(facts, keep_key="insert"), Address()) as page, Drive(page):
        tab.goto(page.url)
        tab.locator("#hotkey", has_text="Insert, in any window").wait_for()
        tab.wait_for_timeout(1000)  # something to keep
        subprocess.run(["xdotool", "keydown", "Insert", "sleep", "1.2", "keyup", "Insert"], check=True)  # it repeats
        tab.locator("#said", has_text="kept").wait_for()
        tab.locator("#events li", has_text="and its film").wait_for()
        assert tab.locator("#events li", has_text="moments ago").count() == 0
    (episode,) = (tmp_path / "kept").glob("*.parquet")
    assert len(Episode.open(episode)) > 10
    assert episode.with_suffix(".mp4").stat().st_size > 0


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080)])
def test_the_stream_fills_the_picture_and_nothing_is_cut(
    drive: tuple[Drive, Page], tab: Any, tmp_path: Path, width: int, height: int
) -> None:
    tab.set_viewport_size({"width": width, "height": height})
    tab.goto(f"{drive[1].url}stream")
    for kind in ("game", "input", "maps"):
        tab.wait_for_selector(f"#{kind}[data-stamp]")
    assert "small, 2 hours old" in tab.inner_text("#model")
    for place in (
        "#game",
        "#input",
        "#maps",
        "#instruments svg",
        "#console",
        "#charts canvas",
        "#model",
    ):
        box = tab.locator(place).first.bounding_box()
        assert box["x"] >= 0, place
        assert box["y"] >= 0, place
        assert box["x"] + box["width"] <= width, place
        assert box["y"] + box["height"] <= height, place
        assert box["height"] >= height / 50, place
    tab.screenshot(path=tmp_path / "stream.png")
    picture = cv2.imread(str(tmp_path / "stream.png"))
    assert picture.shape == (height, width, 3)
    assert (picture.reshape(-1, 3).std(axis=0) > 20).all()


def test_a_phone_shows_everything_without_scrolling_sideways(drive: tuple[Drive, Page], tab: Any) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.emulate_media(color_scheme="dark")
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"


def test_a_page_of_a_drive_that_ended_says_so_and_goes_on_with_the_next(model: Path, tab: Any) -> None:
    facts = Facts("A road", "carracing", "small", "openvino", "policy:small", RATE_HZ, AXES, AXES, (8, 12, 3))
    with Page(facts, Address()) as page, Drive(page):
        tab.goto(page.url)
        tab.wait_for_selector("#state[data-state=driving]")
        port = int(page.url.split(":")[2].strip("/"))
    tab.wait_for_selector("#state[data-state=ended]")
    ended = number(tab, "tick")
    tab.keyboard.press("Space")
    tab.keyboard.press("ArrowLeft")
    until(tab, lambda: number(tab, "tick") == ended - 1)
    with Page(facts, Address(port=port)) as page, Drive(page):
        tab.wait_for_selector("#state[data-state=driving]")


def test_a_page_that_is_closed_and_opened_again_has_the_last_seconds(drive: tuple[Drive, Page], tab: Any) -> None:
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    tab.wait_for_timeout(1000)
    before = number(tab, "tick")
    tab.goto("about:blank")
    tab.wait_for_timeout(1000)
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    tab.locator("#events li", has_text="a lap begins on track 7").wait_for()
    until(tab, lambda: number(tab, "tick") > before)
    tab.keyboard.press("Home")
    until(tab, lambda: number(tab, "tick") < before)


def test_a_connection_that_slept_says_so_goes_on_and_tells_nothing_twice(drive: tuple[Drive, Page], tab: Any) -> None:
    tab.goto(drive[1].url)
    tab.wait_for_selector("#state[data-state=driving]")
    drive[0].happens = "person"
    tab.locator("#events li", has_text="a person has the wheel").wait_for()
    drive[0].happens = ""
    tab.locator("#events li", has_text="the network has the wheel").wait_for()
    assert drive[1].pid is not None
    before = number(tab, "tick")
    os.kill(drive[1].pid, signal.SIGSTOP)
    tab.wait_for_timeout(2000)
    os.kill(drive[1].pid, signal.SIGCONT)
    until(tab, lambda: number(tab, "tick") > before + RATE_HZ)  # the connection has lasted
    tab.keyboard.press("Space")
    paused = number(tab, "tick")
    os.kill(drive[1].pid, signal.SIGSTOP)
    try:
        tab.wait_for_selector("#state[data-state=lost]")
        tab.keyboard.press("ArrowLeft")
        until(tab, lambda: number(tab, "tick") == paused - 1)  # what was seen is still there
    finally:
        os.kill(drive[1].pid, signal.SIGCONT)
    tab.wait_for_selector("#state[data-state=driving]")
    tab.keyboard.press("Escape")
    until(tab, lambda: number(tab, "tick") > paused + RATE_HZ)
    tab.keyboard.press("Space")
    at = number(tab, "tick")
    for back in range(1, 4):
        tab.keyboard.press("ArrowLeft")
        until(tab, lambda: number(tab, "tick") == at - back)  # noqa: B023  (called at once)
    tab.keyboard.press("Home")
    oldest = number(tab, "tick")
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_timeout(500)
    assert number(tab, "tick") == oldest, "no tick is there twice"
    told = [line.inner_text() for line in tab.locator("#events li").all()]
    for text in ("a lap begins on track 7", "a person has the wheel", "the network has the wheel"):
        assert [line[-len(text) :] for line in told if text in line] == [text]


def test_a_drive_s_page_shows_what_its_report_says(model: Path, tab: Any) -> None:
    command = [*(sys.executable, "-m", "agent", "drive", "--weights", str(model), "--engine", "openvino")]
    command += ["--seconds", "6", "--page", "--json"]
    drive = psutil.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (line := drive.stderr.readline()).startswith("the page: "):
            assert line, "the drive ended too early"
        tab.goto(line.removeprefix("the page: ").strip())
        tab.wait_for_selector("#state[data-state=driving]")
        tab.wait_for_selector("#state[data-state=ended]")
        output, _ = drive.communicate(timeout=60)
    finally:
        if drive.poll() is None:
            drive.kill()
    report = json.loads(output)
    timing = report["timing"]
    assert number(tab, "tick") == timing["ticks"]
    said = f"{timing['ticks']} ticks, {timing['missed_deadlines']} of"
    laps = [lap["timing"] for lap in report["laps"]]
    if len(laps) == 1:
        assert said in tab.inner_text("#events")


def test_a_span_marked_on_the_shelf_is_left_out_of_training(model: Path, tab: Any, tmp_path: Path) -> None:
    recording = tmp_path / "shelf" / "drive.parquet"
    recording.parent.mkdir()
    shutil.copy(ROOT / "tests" / "data" / "carracing-0031000.parquet", recording)
    whole = len(read_labels([recording]))
    command = [sys.executable, "-m", "agent", "page", str(recording.parent), "--weights", str(model)]
    page = psutil.Popen([*command, "--engine", "openvino"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        tab.goto(page.stderr.readline().removeprefix("the page: ").strip())
        tab.click(".cards button")
        tab.wait_for_selector('#picture[data-row="0"]')
        for _ in range(3):
            tab.keyboard.press("ArrowRight")
        tab.click("#from")
        for _ in range(4):
            tab.keyboard.press("ArrowRight")
        tab.click("#to")
        tab.locator("#spans", has_text="rows 3 to 7 are bad").wait_for()
        tab.locator(".cards", has_text="5 rows marked as bad").wait_for()
        tab.wait_for_selector("#opinion:empty", state="attached")
        tab.click("#part")
        tab.locator("#said", has_text="furthest apart in row").wait_for()
        assert read_edits(recording, whole) == ((3, 7),)
        assert len(read_labels([recording])) == whole - 5
        tab.click("#delete")
        tab.locator(".cards", has_text="deleted").wait_for()
        assert not recording.exists()
        tab.click(".cards button.deleted")
        until(tab, recording.exists)
    finally:
        page.terminate()
        page.wait(30)
        page.stderr.close()


def test_trainings_lie_over_each_other_with_the_settings_that_differ(tab: Any, tmp_path: Path) -> None:
    for name, balance in (("one", "none"), ("two", "v3")):
        config = replace(FitConfig.debug((tmp_path,), tmp_path / name), balance=balance)
        config.out.mkdir()
        (config.out / SETTINGS).write_text(config.to_json())
        (config.out / LOG).write_text("step,loss\n1,0.5\n2,0.4\n")
        fed = Fed(outputs_named(("steering",)))
        fed.add(np.linspace(-1, 1, 50, dtype=np.float32)[:, np.newaxis])
        fed.write(config.out, 2)
    levels = {"state": "training", "round": 3, "levels": {"steering": 900}, "capacity": 1000, "at": time.time()}
    (config.out / BUFFERS).write_text(json.dumps(levels))
    for step in (100, 200):
        with ClipWriter(config.out / CLIPS / f"{step:08}.webp", 25.0, AXES) as film:
            for level in (10, 200):
                film.write(np.full((80, 100, 3), level, np.uint8))
    with page_of_folder(tmp_path, Address()) as url:
        tab.goto(url)
        tab.locator("#logs figcaption", has_text="loss").first.wait_for()
        labels = [label.inner_text() for label in tab.locator("#runs label").all()]
        assert [" ".join(text.split()) for text in labels] == ["one balance none", "two balance v3"]
        tab.locator("#fed figcaption", has_text="steering: % of the samples, by label").wait_for()
        tab.locator("#buffers strong", has_text="two: training").wait_for()
        assert tab.locator("#buffers meter").get_attribute("aria-label") == "samples in the buffer of steering, two"
        shown = (
            "[...document.querySelectorAll('#clips img')].every((each) => each.complete && each.naturalWidth === 100)"
        )
        until(tab, lambda: tab.evaluate(shown))
        assert [each.inner_text() for each in tab.locator("#clips li").all()] == ["two, step 100", "two, step 200"]
        assert all("still" in each.get_attribute("src") for each in tab.locator("#clips img").all())
        tab.get_by_role("button", name="Play the clips").focus()
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="Stop the clips", pressed=True).wait_for()
        assert not any("still" in each.get_attribute("src") for each in tab.locator("#clips img").all())
        until(tab, lambda: tab.evaluate(shown))
        tab.emulate_media(color_scheme="dark")
        tab.set_viewport_size({"width": 390, "height": 844})
        until(tab, lambda: tab.evaluate("document.documentElement.scrollWidth") <= 390)  # once the curves have shrunk
