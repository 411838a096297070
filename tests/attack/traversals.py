"""Two hundred ways to ask for a file that lies elsewhere."""

from itertools import product

TARGETS = ("etc/passwd", "api.py", "casebook.toml", ".casebook/keys.sqlite")
UP = (
    "..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "..%00", "..;",
    "%uff0e%uff0e", "\uff0e\uff0e", "\u2025", "....", ".%00.", "%2e%2e%20", "..%09", "%5c..",
)  # fmt: skip
SLASH = ("/", "%2f", "%252f", "\\", "%5c", "%c0%af", "%ef%bc%8f", "\u2215", "//", "/./")
WHOLE = (
    "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "C:\\Windows\\win.ini",
    "c:/windows/win.ini", "\\\\127.0.0.1\\c$\\x", "//127.0.0.1/share/x", "\\\\?\\C:\\x", "/proc/self/environ",
    "/proc/self/fd/0", "/dev/stdin", "~/.ssh/id_rsa", "%00", "%00/etc/passwd", "app.js%00.png",
    "app.js/../../api.py", "app.js/%2e%2e/%2e%2e/api.py", "app.js/..;/..;/api.py", ".", "..", "...", "%2e",
    "CON", "NUL", "app.js::$DATA", "a" * 5000, "a/" * 2000, "../" * 500 + "etc/passwd", "%ff%fe",
    "%0d%0aSet-Cookie:x=1", "app.js%0a", "app.js ", "*", "?", "app.js%3f/../..", "%3cscript%3e",
    "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "static/../../api.py", ";/../../api.py",
)  # fmt: skip


def traversals() -> list[str]:
    """Paths below a route's own, over two hundred of them."""
    made = [
        f"{(up + slash) * depth}{target}"
        for (n, (up, slash)), depth in product(enumerate(product(UP, SLASH)), (1, 6))
        for target in (TARGETS[n % len(TARGETS)],)
    ]
    return list(dict.fromkeys([*made, *WHOLE]))
