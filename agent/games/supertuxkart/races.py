"""The race of SuperTuxKart for each seed, and its time limit."""

from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_KART = "tux"
KARTS = (
    DEFAULT_KART, "adiumy", "amanda", "emule", "gavroche", "gnu", "kiki", "konqi", "nolok", "pidgin", "puffy",
    "sara_the_racer", "sara_the_wizard", "suzanne", "wilber", "xue",
)  # fmt: skip
"""The karts that come with SuperTuxKart 1.4."""

GRADED_TRACKS = ("lighthouse", "hacienda", "snowtuxpeak", "zengarden", "cornfield_crossing", "scotland")
"""The default tracks of `evaluate`: those of the University of Texas' grader, except cocoa_temple."""

STEP_S = 0.1
"""The grader's step; limits and results are in this unit."""

LIMIT_STEPS = {
    "lighthouse": 650,
    "hacienda": 700,
    "snowtuxpeak": 700,
    "zengarden": 700,
    "cornfield_crossing": 950,
    "scotland": 850,
    "cocoa_temple": 800,
    # These limits are not the grader's. They are about 1.5 times what the built-in driver needs (507, 595, 519, 480,
    # 621 steps without drift and nitro), and so as tight as the grader's limits.
    "snowmountain": 750,
    "gran_paradiso_island": 890,
    "sandtrack": 750,
    "fortmagma": 720,
    "stk_enterprise": 930,
}
"""Steps of 0.1 s after which a lap counts as not finished."""
OTHER_LIMIT_STEPS = 1500

_OFFSET_M = 1.5  # the roads are 8 m wide and more
_HEADING_RAD = 0.3


@dataclass(frozen=True, slots=True)
class Race:
    """One lap of one kart.

    Attributes:
        track: The game's name for the track.
        kart: The game's name for the kart.
        reverse: Whether the track is driven in the opposite direction.
        offset_m: Sideways distance of the kart from its place on the grid, at the start.
        heading_rad: Angle between the kart and the road's direction, at the start.
    """

    track: str
    kart: str = DEFAULT_KART
    reverse: bool = False
    offset_m: float = 0.0
    heading_rad: float = 0.0

    @property
    def limit_s(self) -> float:
        """Seconds after which the lap counts as not finished."""
        return LIMIT_STEPS.get(self.track, OTHER_LIMIT_STEPS) * STEP_S


def race_of(
    seed: int, tracks: Sequence[str], karts: Sequence[str] = (DEFAULT_KART,), both_directions: bool = False
) -> Race:
    """Return the race of a seed; no other code maps seeds to races.

    The tracks take turns: ``seed % len(tracks)`` is the track, ``seed // len(tracks)`` the run on it. Run 0 is the
    plain race: first kart, forwards, from the grid. Every later run starts up to 1.5 m to the side and turned by up to
    0.3 rad. Odd runs have a random kart. With ``both_directions``, every third run (2, 5, 8...) is driven in the
    opposite direction.

    Raises:
        ValueError: If there are no tracks or karts, or the seed is negative.
    """
    import numpy as np  # the names of the tracks are read by every command's --help, and NumPy takes 0.3 s

    if not tracks or not karts or seed < 0:
        raise ValueError(f"no race for seed {seed} of tracks {tracks} and karts {karts}, expected at least one of each")
    run, place = divmod(seed, len(tracks))
    if run == 0:
        return Race(tracks[place], karts[0])
    rng = np.random.default_rng(seed)
    drawn = karts[int(rng.integers(len(karts)))]
    return Race(
        track=tracks[place],
        kart=drawn if run % 2 else karts[0],
        reverse=both_directions and run % 3 == 2,
        offset_m=float(rng.uniform(-_OFFSET_M, _OFFSET_M)),
        heading_rad=float(rng.uniform(-_HEADING_RAD, _HEADING_RAD)),
    )
