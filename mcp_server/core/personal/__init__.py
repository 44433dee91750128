"""Personal data in a table: which columns hold it, by their names and by the shape of their values; whose rows."""
