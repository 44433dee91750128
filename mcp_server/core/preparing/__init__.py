"""Preparing a table by a declared plan: what a plan may say, and what each of its steps does.

Nothing is imported here: the server reads plans, and only a computing process carries them out.
"""
