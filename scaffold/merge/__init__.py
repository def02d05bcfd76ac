"""Brings the difference of two renders into a project, and takes it back.

preflight    whether a repository is ready for it
sandbox      a copy of the project in which all is merged first
collisions   refuses what git would merge under a name that it makes up
home         where a project's modules lie, and how it calls them
relocate     moves what a release has moved, by codemod/, which rewrites code
launch_lines how a team that has moved its programs starts them
team_settings leaves a team its own settings of a formatter
formatter    formats both renders as a team formats its files
three_way    the merge: old render, new render, project
form         whether a file was edited, or only formatted
lists        settles imports and dependencies that stand side by side
soundness    whether what was merged parses, and what it names
imports      whether what is imported is there
look_alikes  what is like a file that it has changed, and stays
changes      the files that it has changed
apply        puts them into the project itself
checkout     lets git write them, beside it
journal      what is kept meanwhile, so that all can be taken back
stash        keeps what somebody has written there, as git stash does
rollback     takes it back
"""
