"""One file per user goal: read, compute, write. Clock, ids and randomness enter here."""
