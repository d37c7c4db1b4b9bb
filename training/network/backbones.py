"""The bodies that a network can have, by name; no Keras is needed to know them."""

BACKBONES = ("xception", "pilotnet", "pilotnet_grid", "mobilenet_v2")
"""What ``build_network`` accepts as a backbone."""
GRIDS = {"pilotnet_grid": (3, 5)}
"""Backbones whose last maps are averaged over the cells of a grid, rows and columns, and not over the whole picture.

An average over the whole picture says that there is a road's edge, and hardly where. A deep network gets round that;
a small one does not: see ``docs/ten-minutes.md``."""
