"""Checks early whether a file can be written."""

import os
from pathlib import Path

from agent.contract.errors import AgentError


def claim_file(path: Path) -> None:
    """Check before the drive that a file can be written; create its folder if it is missing.

    Raises:
        AgentError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.{os.getpid()}.partial")
        probe.touch()
        probe.unlink()
    except OSError as exc:
        raise AgentError(
            f"{path} cannot be written ({exc.strerror or exc}), expected a file in a writable folder. Pass another "
            "path."
        ) from exc
