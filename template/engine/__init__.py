"""What keeps a run right."""
