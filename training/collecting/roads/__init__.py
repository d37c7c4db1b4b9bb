"""Roads made by a program, with a camera, a car and an expert, to teach a network what all roads have in common.

Every seed has its own road, landscape and light. Nothing copies a game: a network learns from these pictures where a
road goes, whatever the road is made of.
"""
