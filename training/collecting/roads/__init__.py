"""Roads made by a program: a hood camera, a car and a driver who knows the way, for features that any road needs.

Every seed has a road, a landscape and a light of its own. Nothing here copies a game: what a network learns from these
pictures is where a road goes, whatever it is made of.
"""
