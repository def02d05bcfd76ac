"""Looks at what training needs on this machine, before a run fails in its own words."""
