"""Files that observers write beside their place first, so that they appear whole or not at all."""

from pathlib import Path

from agent.contract.errors import AgentError


def claim_file(path: Path, partial: Path) -> None:
    """Find out before the drive whether a file can be written in its folder, which is made where missing.

    Args:
        path: The file.
        partial: Where it is written first; left empty.

    Raises:
        AgentError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as exc:
        raise AgentError(
            f"{path} cannot be written ({exc.strerror or exc}), expected a file in a folder open to you. Pass another "
            "path."
        ) from exc
