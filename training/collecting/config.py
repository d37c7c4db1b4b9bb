"""Settings of ``collect``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from agent.contract.errors import TrainingError
from agent.contract.spec import WEIGHTS_FILE, ModelSpec
from agent.settings.base import Settings, option
from agent.settings.checks import at_least_one, number, path, text, whole
from agent.settings.shared import CLUSTER
from training.collecting.courses import GAMES, check_game, check_tracks, find_course
from training.data.held_out import HELD_OUT_SEED


def _track(value: Any) -> int:
    return whole(value, 0, HELD_OUT_SEED - 1)  # higher seeds are kept for judging


def _noise(value: Any) -> float:
    return number(value, 0, 100)


def _share(value: Any) -> float:
    return number(value, 0, 1)


@dataclass(frozen=True)
class CollectConfig(Settings):
    """What to record.

    Attributes:
        folder: Where the episodes go, one Parquet file per track.
        seed_start: First track; the following ones are consecutive, all below ``HELD_OUT_SEED``.
        episodes: Number of tracks.
        noise: Strength of the disturbances in the executed controls, 0 for none; 1 gives about one every second.
        weights: Model folder of a network that drives while the expert labels (DAgger); None lets the expert drive.
        expert_share: With ``weights``: share of the stretches that the expert still drives, [0, 1].
        engine_threads: With ``weights``: threads of each worker's engine.
        workers: Processes.
        decisions: Decisions after which an episode ends (a lap ends it earlier); None for the game's usual number.
        game: The game's name.
        tracks: Names of the tracks, for a game whose tracks have names; seeds take turns with them. Empty for all that
            may be trained on.
        expert: Name of the expert that labels, and that drives without ``weights``; empty for the game's usual expert.
        ray: Address of a Ray cluster whose nodes record, see :mod:`agent.system.cluster`; None: processes here do.
        disguise: Whether the game is repainted for every ``repaint_supertuxkart.EPISODES`` consecutive seeds.

    Raises:
        TrainingError: If a value is invalid, or tracks that are kept for judging would be driven.
    """

    error: ClassVar[type[Exception]] = TrainingError

    folder: Path = field(metadata=option("where the episodes go", path, metavar="DIR", flag="out"))
    seed_start: int = field(default=0, metadata=option("first track's seed", _track, metavar="S"))
    episodes: int = field(default=20, metadata=option("tracks", at_least_one, metavar="N"))
    noise: float = field(
        default=1.0, metadata=option("disturbances: 0 none, 1 about one a second", _noise, metavar="X")
    )
    weights: Path | None = field(
        default=None, metadata=option("DAgger: this model drives, the expert labels", path, metavar="DIR")
    )
    expert_share: float = field(default=0.0, metadata=option("DAgger: share the expert drives", _share, metavar="X"))
    engine_threads: int = 1
    workers: int = field(default=2, metadata=option("processes", at_least_one, metavar="N"))
    decisions: int | None = None
    game: str = field(
        default="carracing", metadata=option("what to drive", check_game, metavar=f"{{{','.join(GAMES)}}}")
    )
    tracks: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "tracks of a game whose tracks have names; seeds take turns with them (default: all that are trained on)",
            text,
            metavar="NAME",
            flag="track",
            several="together",
        ),
    )
    expert: str = field(
        default="",
        metadata=option(
            "the expert that labels, and that drives without --weights; for supertuxkart: road, which keeps to the "
            "middle of the road (the default), or built-in, the game's own driver; other games have only one",
            text,
            metavar="NAME",
        ),
    )
    ray: str | None = field(default=None, metadata=CLUSTER)
    disguise: bool = field(
        default=False,
        metadata=option(
            "repaint supertuxkart's textures after every three episodes (of one worker), for roads that no track "
            "shows; the installed game is not changed; needs 90 MB per worker beside the episodes"
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed_start + self.episodes > HELD_OUT_SEED:
            raise TrainingError(
                f"{self.episodes} episodes from seed {self.seed_start} on were asked for, expected at least one and "
                f"seeds from 0 to {HELD_OUT_SEED - 1}: higher ones are kept for judging. Start lower or record fewer."
            )
        check_tracks(self.game, self.tracks)
        if self.ray is not None and self.disguise:
            raise TrainingError("--ray records on other nodes, whose games --disguise does not repaint. Leave one out.")

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide how a track is recorded; they are stored beside the episodes.

        Raises:
            AgentError: If the weights' specification cannot be read.
            TrainingError: If the game has no such expert, or cannot be disguised.
        """
        checksum = None if self.weights is None else ModelSpec.load(self.weights).sha256.get(WEIGHTS_FILE)
        course = find_course(self.game)
        course.find_expert(self.expert)
        if self.disguise and course.disguise is None:
            raise TrainingError(f"{self.game} cannot be repainted, only supertuxkart can. Leave --disguise out.")
        # Stored only if there is a choice, so that folders of other games stay valid.
        expert = {"expert": self.expert or next(iter(course.experts))} if len(course.experts) > 1 else {}
        tracks = self.tracks or course.tracks
        return (
            {
                "game": self.game,
                "noise": self.noise,
                "weights_sha256": checksum,
                "expert_share": self.expert_share,
                "decisions": self.decisions or course.decisions,
            }
            | expert
            | ({"disguise": True} if self.disguise else {})
            | ({"tracks": list(tracks)} if tracks else {})
        )
