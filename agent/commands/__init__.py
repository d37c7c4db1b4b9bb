"""The commands of ``python -m agent``, a module each: arguments, wiring, what is printed.

Nothing heavy is imported until a command runs, so that ``--help`` and usage errors are instant.
"""
