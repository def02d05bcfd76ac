"""What a command does, from its answers to a project on the disk; one module for each kind.

create       a project in a new folder
adopt        a project of a repository that exists
update       a project from what made it to what it shall be: another method, or a later version
doctor/      whether training would start on this machine
"""
