"""A package of somebody else's that adds an engine, a game and a grabber to the agent, and some broken ones."""
