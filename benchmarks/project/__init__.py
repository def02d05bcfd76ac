"""What a project costs: its steps beside a loop by hand, its sampler, its checkpoints."""
