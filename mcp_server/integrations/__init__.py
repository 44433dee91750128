"""One file for each outside system; none is imported unless a setting asks for it."""
