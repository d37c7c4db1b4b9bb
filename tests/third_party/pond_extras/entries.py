"""What the entry points name. Nothing heavy is imported here."""

from agent.contract.profile import GameProfile
from agent.engines.base import Engine
from agent.engines.registry import EngineEntry, EngineRequest
from agent.games.base import Simulator
from agent.games.launching import Launcher
from agent.games.registry import Game


def _make_follower(request: EngineRequest) -> Engine:
    from pond_extras.engine import Follower

    return Follower(request.game)


def _make_nothing(request: EngineRequest) -> Engine:
    raise ZeroDivisionError(f"no use\nwith {request.folder.name}")


def make_pond() -> Simulator:
    from pond_extras.game import Pond

    return Pond()


def _make_launcher() -> Launcher:
    from pond_extras.launcher import PondLauncher

    return PondLauncher()


FOLLOWER = EngineEntry(name="follower", runtime="numpy", make=_make_follower, packages=("numpy",), needs_weights=False)
RAISING = EngineEntry(name="raises-when-made", runtime="nothing", make=_make_nothing)
POND = Game(GameProfile(name="pond", title="A boat on a pond", rate_hz=20.0), make_pond, make_launcher=_make_launcher)
NUMBER = 7
