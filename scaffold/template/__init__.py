"""The template: where it lies, what it renders, and what a project tells of how it was made.

source       the folder of the template, and the questions it asks
releases     the templates of all released versions
bundle       packs them into a wheel; also run where a wheel is built, with Python and git alone
renames      what a release has renamed in a project
render       makes a project's files of it; alone in importing copier
answers      reads a project's .copier-answers.yml
verify       whether what was rendered parses
"""
