"""Reports: one Markdown text, and what is made of it: a page, blocks for a typesetter, a sheet of its figures."""
