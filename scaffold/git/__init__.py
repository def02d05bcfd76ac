"""Git, asked and told.

run          one call of git, alone with its settings
repository   a project in its repository: where it lies there
index        what git's index has of some files
lock         one at a time in a repository
"""
