"""Looks at what training needs on this machine, before a run fails in its own words.

checks       all of them, one after the other
variables    what variables of other programs would do to a start
project      what a merge has left in the project here, and what its files hide
machine      what the machine gives: git, names, ports, limits
finding      what was found of one thing
facts        a program for the Python that trains: what it knows of torch, two processes add up
program      a program that is asked, and ended after its time
"""
