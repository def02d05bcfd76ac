"""What the command line costs: its start, a new project, a change of method."""
