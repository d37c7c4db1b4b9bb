"""Tracks that nothing is trained on."""

HELD_OUT_SEED = 1_000_000
"""Tracks from this seed on are kept for judging: nothing is trained, tuned or looked at there."""
HELD_OUT_TRACK = "cocoa_temple"
"""SuperTuxKart's track that is kept for judging in the same way: its tracks have names instead of seeds."""
VALIDATION_TRACKS = ("snowmountain", "gran_paradiso_island", "sandtrack", "fortmagma", "stk_enterprise")
"""SuperTuxKart's tracks that are driven to see how far a network carries; the shipped weights were not trained on them.

On fortmagma and stk_enterprise the built-in driver loses its way once it is disturbed, too (73 % of the time off the
track; 86 % the other way round): they would be poor examples."""
