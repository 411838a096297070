"""Links: where a person can open just what a citation quotes."""

from index.schema import Document


def link(document: Document, start: int, end: int) -> str | None:
    """The address of `text[start:end]`, if the document's source knows one: the lines of a file at the
    commit that was read, the comment of a ticket, the commit in a history.
    """
    metadata = document.metadata
    if isinstance(lines := metadata.get("lines"), str):
        first = int(metadata.get("first_line", 1)) + document.text.count("\n", 0, start)
        last = first + document.text.rstrip().count("\n", start, end)
        return lines.replace("{start}", str(first)).replace("{end}", str(last))
    address = None
    for offset, anchor in metadata.get("anchors") or ():
        if offset > start:
            break
        address = str(anchor)
    return address
