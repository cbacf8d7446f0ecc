"""Comparisons, each a script that runs by itself; a package only so that scripts in several files find their parts."""
