"""Systems outside this installation, one file for each; nothing here is imported before it's needed."""
