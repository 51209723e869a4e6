"""The subcommands of `tvau`, one module each: `add(parsers)` declares it, `run(args)` does it and returns the exit
code.
"""
