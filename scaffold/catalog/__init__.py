"""What the tool knows of the four methods, as data and sums.

methods      what they are, when to choose them, how a project is started
choose       from a goal to a method
shares       which samples each rank sees
"""
