"""Rewrites a project's code where modules of ours have other names now.

rewrite      one file: its imports, and what they bind where it is used
plan         what becomes of each import
uses         what becomes of what it binds, where that is used
align        the imports of a file of ours that a team has edited, statement by statement
complete     imports what has left a file whose team still uses it there
mentions     where else a module that has moved is named
nodes        import statements as libcst has them
"""
