"""The bodies that a network can have, by name; no Keras is needed to know them."""

BACKBONES = ("xception", "pilotnet", "mobilenet_v2")
"""What ``build_network`` accepts as a backbone."""
