"""The commands, one in each module: parse, call, print. report.py prints what a move did."""
