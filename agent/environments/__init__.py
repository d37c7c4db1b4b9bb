"""Games as Gymnasium environments: ``hoodcam/CarRacing-v0`` and ``hoodcam/Window-v0``; see docs/environments.md.

Importing this package adds them to Gymnasium's registry::

    import gymnasium
    import agent.environments

    env = gymnasium.make("hoodcam/CarRacing-v0")

``gymnasium.make("agent.environments:hoodcam/CarRacing-v0")`` does both in one line.
"""

from gymnasium.envs.registration import register, registry

NAMES = {
    "hoodcam/CarRacing-v0": "agent.environments.simulator:SimulatorEnv",
    "hoodcam/Window-v0": "agent.environments.window:WindowEnv",
}
"""The environments, and where each is."""

for _name, _place in NAMES.items():
    if _name not in registry:
        register(id=_name, entry_point=_place)
