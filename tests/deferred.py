"""Imports that wait until they are used, so that collecting the tests does not take TensorFlow's 15 seconds."""

import importlib
from typing import Any


class Deferred:
    """Stands for a module or for something in it, and imports it at the first use.

    It can be called, and its attributes read, replaced and deleted (as ``monkeypatch`` does). It is not the thing
    itself: ``isinstance`` and ``==`` want ``module.Class``, with the module deferred.
    """

    __slots__ = ("_place",)  # no dictionary of its own, in whose place stands:

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """What ``monkeypatch`` looks into for what it has to put back; without it, it would delete what it replaced."""
        return vars(self._resolve())

    def __init__(self, place: str) -> None:
        """Name what is meant.

        Args:
            place: ``package.module``, or ``package.module:name`` like an entry point.
        """
        object.__setattr__(self, "_place", place)

    def _resolve(self) -> Any:
        module, _, name = self._place.partition(":")
        found = importlib.import_module(module)
        return getattr(found, name) if name else found

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._resolve()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name == "_mock_name" or name.startswith("__"):  # what pytest asks of all that a module holds
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._resolve(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._resolve(), name)
