"""The settings of each command: one frozen, checked dataclass per command, for the command line and for Python.

``agent.settings.base`` says how an option is written; ``agent.commands.options`` makes command lines from them.
"""
