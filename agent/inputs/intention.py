"""What a program would do, as an input device."""

from typing import Self

from agent.contract.controls import NEUTRAL, Controls


class Intention:
    """An input device without keys: what a program would do, which need not be what is pressed.

    Attributes:
        controls: What it would do now.
    """

    controls = NEUTRAL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def unheard(self) -> str | None:
        """It is always heard."""
        return None

    def read(self) -> Controls:
        """Return what it would do now."""
        return self.controls
