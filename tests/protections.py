"""Takes each protection of docs/safety.md away, one at a time and in a copy, and sees whether a test fails for it.

`python tests/protections.py` prints a line for each: noticed, MISSED, HANGS, or BROKEN where a test fails with the
protection there. `--only WORDS` picks some. Exit code 1: anything but noticed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from take_away import Protection, apply

ROOT = Path(__file__).parents[1]
_TIMEOUT_S = 300


GUARD, LOOP, SCREEN = "tests/integration/test_guard.py", "tests/unit/test_loop.py", "tests/unit/test_screen.py"
WINDOW = "tests/integration/test_window_drive.py"
PROTECTIONS = (
    Protection(
        "controls expire in the guard",
        "_Service._receive",
        "self._expires_s = made_s + expiry_s\nreturn Controls",
        "self._expires_s = math.inf\nreturn Controls",
        f"{GUARD} -k silent_agent",
    ),
    Protection(
        "controls expire from their making on",
        "_Service._receive",
        "if clock_s() < made_s + expiry_s:\n    self._expires_s",
        "made_s = clock_s()\nif True:\n    self._expires_s",
        f"{GUARD} -k waited_for_too_long",
    ),
    Protection(
        "controls are not held for seconds, whatever the rate",
        "expiry_for",
        "min(LONGEST_EXPIRY_S, max(EXPIRY_S, _PERIODS * period_s))",
        "max(EXPIRY_S, _PERIODS * period_s)",
        f"{GUARD} -k held_for_seconds",
    ),
    Protection(
        "no old picture counts as fresh, whatever the rate",
        "stale_after",
        "min(LONGEST_STALE_S, max(STALE_S, _STALE_PERIODS * period_s))",
        "max(STALE_S, _STALE_PERIODS * period_s)",
        f"{LOOP} -k counts_as_fresh",
    ),
    Protection(
        "the guard does not wait for an agent that reads nothing",
        "_Service._report",
        "and self._reports - self._read < _UNREAD",
        "",
        f"{GUARD} -k steers_for_long",
    ),
    Protection(
        "the terminal's signals do not reach the guard",
        "hold_controller",
        "signal.signal(getattr(signal, name), signal.SIG_IGN)",
        "pass",
        f"{GUARD} -k what_a_terminal_sends",
    ),
    Protection(
        "a guard that hangs between two controls of a slow loop is found out",
        "GuardedController.__enter__",
        "self._watch.start()",
        "self._watch = None",
        f"{GUARD} -k between_two_controls",
    ),
    Protection(
        "the guard has a session of its own",
        "hold_controller",
        "own_session()",
        "pass",
        f"{GUARD} -k session_of_its_own",
    ),
    Protection(
        "the guard stays in memory",
        "hold_controller",
        "stay_in_memory()",
        "pass",
        f"{GUARD} -k stays_in_memory",
    ),
    Protection(
        "a guard that does not answer at the end is not waited for",
        "GuardedController.__exit__",
        "if self._is_neutral:\n    process.join",
        "if True:\n    process.join",
        f"{GUARD} -k as_the_drive_ends",
    ),
    Protection(
        "letting go knows no slew limit",
        "Gamepad.send",
        "self._slew.reset()",
        "pass",
        "tests/unit/test_gamepad.py",
    ),
    Protection(
        "a guard that does not answer is noticed",
        "GuardedController._is_silent",
        "time.monotonic() - self._unanswered[0] > SILENCE_S",
        "False",
        f"{GUARD} -k does_not_answer",
    ),
    Protection(
        "what a killed guard held is let go of",
        "GuardedController._check_on_guard",
        "self._process.join()\nself._let_go()",
        "self._process.join()",
        f"{GUARD} -k does_not_answer",
    ),
    Protection(
        "a slow loop looks at the guard at once",
        "GuardedController._tell_now",
        "if self._told_s - before_s <= SILENCE_S:",
        "if True:",
        f"{GUARD} -k slow_loop_does_not",
    ),
    Protection(
        "what is logged in the guard is written by a thread of its own",
        "hold_controller",
        "_log_without_waiting()",
        "",
        f"{GUARD} -k terminal_that_takes_nothing",
    ),
    Protection(
        "a tap expires like controls",
        "_Service._receive",
        "if clock_s() < made_s + expiry_s:\n    name",
        "if True:\n    name",
        f"{GUARD} -k tap_that_waited",
    ),
    Protection(
        "a button is not held for a silent agent",
        "_Service._receive",
        "if math.isinf(self._expires_s):",
        "if False:",
        f"{GUARD} -k no_controls_came",
    ),
    Protection(
        "a button comes up whoever drives",
        "_Service._let_go",
        "elif ended:",
        "elif False:",
        f"{GUARD} -k comes_up",
    ),
    Protection(
        "a guard is not left behind by Ctrl-C as it starts",
        "GuardedController.__enter__",
        "except BaseException:",
        "except ControllerError:",
        f"{GUARD} -k ctrl_c_while",
    ),
    Protection(
        "a person is asked, and wins",
        "_Service._follow",
        "None if self._hands is None else self._hands()",
        "None",
        f"{GUARD} -k person_wins",
    ),
    Protection(
        "a button ends with the controls",
        "_Service._let_go",
        "if expired or now_s >= until_s",
        "if now_s >= until_s",
        f"{GUARD} -k outlive",
    ),
    Protection(
        "the embedded game's controls expire",
        "_Clockwork._controls",
        "expired = now_ns - sent_ns > expiry_s * 1e9",
        "expired = False",
        "tests/integration/test_realtime.py -k not_renewed",
    ),
    Protection(
        "an old picture is not driven by",
        "_Driver._look",
        "if age_s > self._limit_s:\n    raise BlindError",
        "if False:\n    raise BlindError",
        f"{LOOP} -k too_old",
    ),
    Protection(
        "a late decision is not sent",
        "_Driver.act",
        "if age_s > self._limit_s:\n    self._summary",
        "if False:\n    self._summary",
        f"{LOOP} -k too_late",
    ),
    Protection(
        "without a picture the controls are neutral",
        "_Driver.act",
        "controls, is_by_hand = self._send_neutral()\nreason = str(blind)",
        "controls, is_by_hand = (NEUTRAL, False)\nreason = str(blind)",
        f"{LOOP} -k without_a_picture",
    ),
    Protection(
        "garbage waits for the end of the tick",
        "_no_garbage_in_mid_tick",
        "gc.disable()",
        "",
        f"{LOOP} -k garbage",
    ),
    Protection(
        "a window that is not in use is noticed",
        "ScreenSource.region",
        "if state.focused is False and",
        "if False and",
        SCREEN,
    ),
    Protection(
        "a minimised window is noticed",
        "ScreenSource.region",
        "if state.minimised:",
        "if False:",
        SCREEN,
    ),
    Protection(
        "a black picture is noticed",
        "ScreenSource.read",
        "if _is_black(pixels):",
        "if False:",
        SCREEN,
    ),
    Protection(
        "a frozen picture is noticed",
        "ScreenSource._check_for_life",
        "if still_s < began_s:",
        "if False:",
        SCREEN,
    ),
    Protection(
        "a frozen picture is not tried for ever",
        "ScreenSource._check_for_life",
        "in (*RETRY_AFTER_S, math.inf):",
        "in (*RETRY_AFTER_S, *((8.0,) * 20)):",
        f"{SCREEN} -k a_few_times",
    ),
    Protection(
        "attempts are counted until it has moved for long",
        "StuckWatch._note_movement",
        "time_s - self._moves_since_s >= FREE_S",
        "True",
        "tests/unit/test_stuck.py -k same_wall",
    ),
    Protection(
        "NaN is never sent",
        "Controls.__post_init__",
        "if not math.isfinite(value):",
        "if False:",
        "tests/unit/test_controls.py",
    ),
    Protection(
        "the pad's integers do not wrap",
        "Axis.share",
        "min(self.high, max(self.low, value))",
        "value",
        "tests/unit/test_pad.py",
    ),
    Protection(
        "a tap of a key lasts for a frame of the game",
        "KeyPulse.step",
        "elif time_s - self._changed_s < self._pulse_s:",
        "elif False:",
        "tests/unit/test_keyboard.py",
    ),
    Protection(
        "stuck is noticed",
        "StuckWatch.watch",
        "if self._moves():",
        "if True:",
        "tests/unit/test_stuck.py",
    ),
    Protection(
        "stuck gives up",
        "StuckWatch._recover",
        "if self._in_a_row == stuck.attempts:",
        "if False:",
        "tests/unit/test_stuck.py",
    ),
    Protection(
        "no burst after a stall",
        "Pacer.ticks",
        "while self._due(start_ns, slot) < ended_ns:",
        "while False:",
        "tests/unit/test_pacing.py",
    ),
    Protection(
        "a fault has an exit code of its own",
        "exit_code",
        "return EXIT_FAULT",
        "return EXIT_DONE",
        "tests/integration/test_cli.py -k fault_ends",
    ),
    Protection(
        "a request to terminate is neutral",
        "end_like_ctrl_c",
        'for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):',
        "for name in ():",
        "tests/integration/test_cli.py -k ctrl_c",
    ),
    Protection(
        "a recording is on the disk twice a second",
        "_BATCH_NS",
        "_BATCH_NS = SECOND_NS // 2",
        "_BATCH_NS = SECOND_NS * 500",
        "tests/integration/test_episode_kill.py",
    ),
    Protection(
        "damage costs its half second alone",
        "salvage",
        "whole = [index for index in range(file.num_row_groups) if _is_whole(damaged, file, index)]",
        "whole = list(range(rows)) if all(_is_whole(damaged, file, i) for i in range(file.num_row_groups)) else []",
        "tests/integration/test_episodes_command.py -k costs_the_half_second",
    ),
    Protection(
        "pictures and rows are counted",
        "Episode.encoded_frame",
        "if len(pictures) != last - first + 1:",
        "if False:",
        "tests/unit/test_episode.py -k fewer_pictures",
    ),
    Protection(
        "a recording that goes on is left alone",
        "is_claimed",
        "return not claim(file)",
        "return not file",
        "tests/integration/test_episodes_command.py -k goes_on",
    ),
    Protection(
        "a recording that may only be read is seen to go on",
        "is_claimed",
        'with open(path, "rb", opener=_at_once) as file:',
        'with open(path, "r+b", opener=_at_once) as file:',
        "tests/integration/test_episodes_command.py -k only_be_read",
    ),
    Protection(
        "a repair holds what it works on",
        "repair",
        "if each.exists() and not held.enter_context(claimed(each)):",
        "if each.exists() and is_claimed(each):",
        "tests/integration/test_episodes_command.py -k repair_holds",
    ),
    Protection(
        "a recording that is not its own does not begin",
        "EpisodeWriter.__init__",
        "if not claim(self._file):",
        "if claim(self._file) is None:",
        "tests/unit/test_episode.py -k somebody_else",
    ),
    Protection(
        "rows that cannot be sealed are told",
        "EpisodeWriter.close",
        "if sealed < recorded:",
        "if False:",
        "tests/unit/test_episode.py -k cannot_be_sealed",
    ),
    Protection(
        "a recording with bytes that cannot be read is not deleted",
        "_repair_recording",
        "if unread_bytes:",
        "if False:",
        "tests/integration/test_episodes_command.py -k never_deleted",
    ),
    Protection(
        "another drive of the same name is left alone",
        "_holds",
        "(left.header, left.created) != (beside.header, beside.created)",
        "False",
        "tests/integration/test_episodes_command.py -k another_drive",
    ),
    Protection(
        "another drive of the same second is left alone",
        "_holds",
        "not (ours <= theirs or theirs <= ours)",
        "False",
        "tests/integration/test_episodes_command.py -k another_drive",
    ),
    Protection(
        "what is salvaged can be decoded",
        "_is_whole",
        'decode_picture(picture.as_py() or b"")',
        "pass",
        "tests/integration/test_episodes_command.py -k repairing_again",
    ),
    Protection(
        "a slow disk drops a picture with its row",
        "EpisodeRecorder.put",
        "except queue.Full:\n    self._dropped_full += 1\n    return False",
        "except queue.Full:\n    return True",
        "tests/unit/test_episode_recorder.py -k slow_disk",
    ),
    Protection(
        "in lockstep no more than a second waits for the disk",
        "EpisodeRecorder.__init__",
        "max(1, math.floor(header.rate_hz / 4)) if blocking else DISK_ROWS",
        "DISK_ROWS",
        "tests/unit/test_episode_recorder.py -k lockstep_a_kill",
    ),
    Protection(
        "a disk that keeps a second waiting is told",
        "EpisodeRecorder.put",
        "if not self._told_that_it_waits and",
        "if False and",
        "tests/unit/test_episode_recorder.py -k told_at_once",
    ),
    Protection(
        "a full disk does not end the recorder",
        "EpisodeRecorder._write",
        "except Exception as trouble:",
        "except KeyError as trouble:",
        "tests/unit/test_episode_recorder.py -k full_disk",
    ),
    Protection(
        "a picture that cannot be compressed does not end the recorder",
        "EpisodeRecorder._compressed",
        "except Exception as trouble:",
        "except KeyError as trouble:",
        "tests/unit/test_episode_recorder.py -k cannot_be_compressed",
    ),
    Protection(
        "checksums are compared",
        "ModelSpec.read_file",
        "if actual != expected:\n    raise WeightsError",
        "if False:\n    raise WeightsError",
        "tests/unit/test_spec.py -k damaged_file",
    ),
    Protection(
        "weights are finite",
        "_check_tensor",
        "not np.isfinite(values).all()",
        "False",
        "tests/unit/test_weights.py -k number_that_is_none",
    ),
    Protection(
        "a graph reads its own file alone",
        "_read_external",
        'if entries["location"] != weights:',
        "if False:",
        "tests/unit/test_graph.py -k elsewhere",
    ),
    Protection(
        "a picture is no larger than a screen",
        "decode_picture",
        "if not 0 < width * height <= MAX_PIXELS:",
        "if False:",
        "tests/unit/test_picture.py",
    ),
    Protection(
        "a chunk is as long as it says",
        "_check_chunks",
        'if checksum != zlib.crc32(memoryview(data)[position + 4 : end]).to_bytes(4, "big"):',
        "if False:",
        "tests/unit/test_picture.py -k length_that_is_not_there",
    ),
    Protection(
        "the weights in use are not those on the disk",
        "OpenVinoEngine.__init__",
        "core.read_model(embed_weights(opened.graph, opened.weights))",
        "core.read_model(opened.graph_path)",
        "tests/integration/test_weights_swap.py -k changed_since",
    ),
    Protection(
        "nothing listens",
        "_no_garbage_in_mid_tick",
        "gc.disable()",
        'gc.disable()\nimport socket\n\nglobal _open\n_open = socket.create_server(("127.0.0.1", 0))',
        "tests/integration/test_nothing_listens.py",
    ),
    Protection(
        "a guard that hangs is found out in time",
        "SILENCE_S",
        "SILENCE_S = 0.06",
        "SILENCE_S = 0.5",
        f"{GUARD} -k stopped_guard",
    ),
    Protection(
        "the guard is preferred by the system",
        "hold_controller",
        "not_first = raise_priority(realtime=True)",
        "not_first = None",
        f"{GUARD} -k preferred",
    ),
    Protection(
        "a guard without rights asks for what every user may have",
        "hold_controller",
        "stack.enter_context(prompt_wakeups())",
        "pass",
        f"{GUARD} -k every_user_may_have",
    ),
    Protection(
        "the guard lets go before it ends",
        "_Service.run",
        "self._expires_s, self._by_hand = -math.inf, None\nself._let_go()",
        "pass",
        f"{GUARD} -k lets_go_before",
    ),
    Protection(
        "the loop is woken promptly",
        "drive",
        "stack.enter_context(prompt_wakeups())",
        "pass",
        f"{LOOP} -k promptly",
    ),
    Protection(
        "a slow loop's controls hold for long enough",
        "_takeover_and_stuck",
        "controller.expiry_s = expiry_for(period_s)",
        "pass",
        f"{WINDOW} -k slow_loop",
    ),
    Protection(
        "the loop of a window hears of the person",
        "_takeover_and_stuck",
        "return controller.by_hand",
        "return _nobody",
        f"{WINDOW} -k person",
    ),
    Protection(
        "a person may take over in a window",
        "guarded_controller",
        "if takeover",
        "if False",
        f"{WINDOW} -k person",
    ),
    Protection(
        "a stuck car in a window is brought off",
        "_takeover_and_stuck",
        "None if profile.stuck is None else StuckWatch(profile.stuck, controller.tap)",
        "None",
        f"{WINDOW} -k stuck",
    ),
    Protection(
        "a car that nothing helps is not driven on",
        "StuckWatch.watch",
        "return NEUTRAL if self._hopeless else controls",
        "return controls",
        "tests/unit/test_stuck.py -k gives_up",
    ),
    Protection(
        "the rescue key of a killed guard is let go of",
        "guarded_controller",
        "release_keys, profile.keys, pressed)",
        "release_keys, profile.keys)",
        f"{WINDOW} -k killed_guard",
    ),
    Protection(
        "the keys of a killed guard are let go of",
        "guarded_controller",
        "make_hands, let_go)",
        "make_hands)",
        f"{WINDOW} -k killed_guard",
    ),
    Protection(
        "a held button comes up when the pad is left",
        "Gamepad.__exit__",
        "self._show(PadState())",
        "pass",
        "tests/unit/test_gamepad.py -k comes_up",
    ),
    Protection(
        "the game does not hear that a terminal is closed",
        "run_game",
        "signal.signal(getattr(signal, name), signal.SIG_IGN)",
        "pass",
        "tests/integration/test_realtime.py -k closed_terminal",
    ),
    Protection(
        "a recording's name is on the disk",
        "EpisodeWriter.__init__",
        "sync_folder(path.parent)",
        "pass",
        "tests/unit/test_episode.py -k names_are_on",
    ),
    Protection(
        "a sealed episode's name is on the disk",
        "_write_sealed",
        "sync_folder(sealed.parent)",
        "pass",
        "tests/unit/test_episode.py -k names_are_on",
    ),
    Protection(
        "a program ends with whoever started it",
        "_supervise",
        "watcher.start()",
        "pass",
        "tests/unit/test_supervised.py -k starter_is_killed",
    ),
    Protection(
        "what a program leaves behind ends too",
        "_supervise",
        "watcher.join()",
        "pass",
        "tests/unit/test_supervised.py -k starter_is_killed",
    ),
    Protection(
        "the page is served under this machine's names alone",
        "Gate.refusal",
        "if not self._is_ours(host):",
        "if False:",
        "tests/unit/test_page_access.py -k another_name",
    ),
    Protection(
        "another origin may not look at the page",
        "Gate.refusal",
        'if origin is not None and origin.lower() != f"http://{host.lower()}":',
        "if False:",
        "tests/unit/test_page_access.py -k another_origin",
    ),
    Protection(
        "where other machines reach the page, every path needs the token",
        "Gate.inside",
        "return rest if fits and slash else None",
        "return rest",
        "tests/unit/test_page_access.py -k without_the_token",
    ),
    Protection(
        "the page reads no long message",
        "Server._live",
        "max_msg_size=MAX_MESSAGE_BYTES",
        "max_msg_size=0",
        "tests/unit/test_page_server.py -k too_long",
    ),
    Protection(
        "a viewer that floods the page is sent away",
        "Viewer.listen",
        "or not self._is_in_time()",
        "",
        "tests/unit/test_page_server.py -k floods",
    ),
    Protection(
        "a viewer that takes nothing is let go",
        "Viewer._send",
        "async with asyncio.timeout(_PATIENCE_S):",
        "if True:",
        "tests/unit/test_page_server.py -k takes_nothing",
    ),
    Protection(
        "a gamepad that has gone takes nothing over",
        "Takeover.__call__",
        "if self._pad_is_there else 0.0",
        "if True else 0.0",
        "tests/unit/test_takeover.py -k between_two_questions",
    ),
    Protection(
        "what a gamepad shows as it comes back is no takeover",
        "Takeover._notice_whether_it_is_there",
        "self._rest = self._resting_place(at_hand)",
        "pass",
        "tests/unit/test_takeover.py -k heard_again",
    ),
    Protection(
        "what a gamepad shows as the drive begins is no takeover",
        "Takeover.__init__",
        "self._resting_place(at_hand)",
        "RestingPlace(NEUTRAL, 0)",
        "tests/unit/test_takeover.py -k worn_stick",
    ),
    Protection(
        "only episodes of the shelf are opened",
        "Shelf.path",
        "if key not in self._paths:",
        "self._paths.setdefault(key, self._folder / key)\nif False:",
        "tests/unit/test_page_shelf.py -k makes_no_sense",
    ),
)


def judge(protection: Protection, copy: Path) -> str:
    """Say whether its tests pass with it and fail without it; the copy is as it was afterwards."""
    if not _passes(protection.tests, copy):
        return "BROKEN"
    path, without = apply(protection, copy)
    source = path.read_text(encoding="utf-8")
    path.write_text(without, encoding="utf-8")
    try:
        return "MISSED" if _passes(protection.tests, copy) else "noticed"
    except subprocess.TimeoutExpired:
        return "HANGS"
    finally:
        path.write_text(source, encoding="utf-8")


def _passes(tests: str, copy: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    return not subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, timeout=_TIMEOUT_S, check=False
    ).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORDS", default="", help="those with these words in their name")
    chosen = [each for each in PROTECTIONS if parser.parse_args().only in each.name]
    if not chosen:
        parser.error("no protection has these words in its name")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for name in ("agent", "training", "tests", "model_weights"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for number, each in enumerate(chosen, 1):
            found = judge(each, copy)
            missed += found != "noticed"
            sys.stdout.write(f"{number}/{len(chosen)} {found}: {each.name} ({each.tests})\n")
            sys.stdout.flush()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
