"""Links: which targets a document's text keeps."""

import re
from urllib.parse import quote

KEPT = frozenset(("http", "https", "mailto", "tel", "ftp", "sftp", "ssh", "git", "irc", "xmpp"))
"""Schemes that say where something is. Others run (`javascript:`), hold a page of their own (`data:`), or
open what lies on the reader's machine (`file:`)."""

_PASSED_OVER = re.compile(r"[\t\n\r]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,63}:", re.IGNORECASE)
_CONTROLS = "".join(map(chr, range(0x21)))
_BREAKS_OUT = re.compile(r"[\s()<>\\]|[\x00-\x1f]")


def target(address: str) -> str | None:
    """An address as markdown can hold it, or None for one that a document's words are better without.

    The scheme is looked for as a browser does (https://url.spec.whatwg.org/#concept-basic-url-parser):
    control characters and spaces in front of it do not count, nor tabs and line ends inside. What would
    end the link early, and let the rest of the address be markdown of its own, is percent-encoded.
    """
    plain = _PASSED_OVER.sub("", address).strip(_CONTROLS)
    scheme = _SCHEME.match(plain)
    if scheme and scheme[0][:-1].lower() not in KEPT:
        return None
    return _BREAKS_OUT.sub(lambda found: quote(found[0]), plain)
