"""Simulated seasons of a ball game, for demonstrations and tests. Nothing in them is real.

Import from the modules: `games` makes the seasons, `faults` plants errors with an answer key.
"""
