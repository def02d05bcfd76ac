"""The commands, one in each module: parse, call, print."""
