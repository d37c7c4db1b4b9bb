"""The time of a drive in a window."""

from agent.sessions.window_drive import over_after


def test_the_time_of_a_drive_begins_with_its_first_tick() -> None:
    """`--seconds 2 --record` drove for no tick where opening the recorder took two seconds."""
    now_s = 100.0
    is_over = over_after(2.0, lambda: round(now_s * 1e9))
    now_s = 103.0
    assert not is_over()
    now_s = 104.9
    assert not is_over()
    now_s = 105.0
    assert is_over()
    assert not over_after(None, lambda: 1 << 62)()
