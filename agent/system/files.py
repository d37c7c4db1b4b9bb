"""Whether a file can be written, found out before it matters."""

import os
from pathlib import Path

from agent.contract.errors import AgentError


def claim_file(path: Path) -> None:
    """Find out before the drive whether a file can be written in its folder, which is made where missing.

    Raises:
        AgentError: If it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.{os.getpid()}.partial")
        probe.touch()
        probe.unlink()
    except OSError as exc:
        raise AgentError(
            f"{path} cannot be written ({exc.strerror or exc}), expected a file in a folder open to you. Pass another "
            "path."
        ) from exc
