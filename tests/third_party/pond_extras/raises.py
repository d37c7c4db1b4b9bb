"""A module that cannot be imported."""

raise RuntimeError("this package\nwants another Python \x1b[2J")
