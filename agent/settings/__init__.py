"""What each command can be told: a frozen, checked dataclass a command, for its command line and for Python alike.

``agent.settings.base`` says how an option is written; ``agent.commands.options`` makes command lines from them.
"""
