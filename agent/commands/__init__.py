"""The commands of ``python -m agent``, one module each: arguments, wiring, printing.

Nothing heavy is imported until a command runs, so that ``--help`` and usage errors are instant.
"""
