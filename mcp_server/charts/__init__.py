"""Charts: specifications as plain dicts, and the one renderer that turns them into SVG and PNG.

`forest`, `reliability`, `history`, `learning`, `trend` and `contributions` make specifications; `render` draws them.
The renderer holds the interpreter's lock while it works, so nothing here may be imported by the process that answers
calls: it runs in a computing child.
"""
