"""URLs: where a person or a program finds what was cited."""

from urllib.parse import quote


def url_of(document_id: str, source: str, link: str | None, service: str | None) -> str:
    """Where to read on: the link to just what is cited, the source's own page, or the document as this
    service has it. `service` is the service's own address, None where nothing is served over HTTP: then
    the source as it is, which may be a path.
    """
    if link:
        return link
    if source.startswith(("https://", "http://")) or service is None:
        return source
    return f"{service.rstrip('/')}/documents/{quote(document_id, safe='')}"
