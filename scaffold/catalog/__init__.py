"""What the tool knows of the four methods, as data: what they are, which to choose, who reads what."""
