"""A deferred import stands for its module in ``monkeypatch``, too."""

import json

import pytest
from deferred import Deferred

module = Deferred("json")


def test_what_was_replaced_is_there_again_afterwards() -> None:
    original = json.dumps
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module, "dumps", lambda value: "replaced")
            assert json.dumps({}) == "replaced"
        assert json.dumps is original
