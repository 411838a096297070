"""reStructuredText to markdown, Sphinx's own roles and directives included."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from ingest.parsers.html import from_soup
from ingest.parsers.parsed import Parsed, reading
from ingest.parsers.text import decode

_RST_SETTINGS = {
    **{"file_insertion_enabled": False, "raw_enabled": False, "_disable_config": True},
    **{"report_level": 5, "halt_level": 5, "traceback": True},
    # Titles as plain sections, so that the first is a `#` whatever stands before it.
    **{"doctitle_xform": False, "docinfo_xform": False, "initial_header_level": 1},
    **{"syntax_highlight": "none", "embed_stylesheet": False, "stylesheet_path": ""},
    "line_length_limit": 10_000_000,  # the default refuses the whole document
}
_RST_LEFT_OUT = {
    **{"toctree": "tables of contents", "include": "includes", "literalinclude": "includes"},
    **{"raw": "raw blocks", "index": "index entries"},
    **dict.fromkeys("highlight currentmodule role default-role".split(), "settings"),
}
_RST_LABELS = {
    **{"versionadded": "Added in version", "versionchanged": "Changed in version"},
    **{"deprecated": "Deprecated since version", "seealso": "See also", "todo": "To do"},
}
_RST_DIRECTIVE = re.compile(r"\.\. +([^\W_][\w.+:-]*?) ?::(?: +|$)")
_SPHINX_FIELDS = re.compile(r"\A\s*(?::(?:orphan|nosearch|nocomments|tocdepth):.*\n)+")


def read_rst(name: str, data: bytes) -> Parsed:
    from bs4 import BeautifulSoup
    from docutils import ApplicationError, DataError, statemachine

    text = _SPHINX_FIELDS.sub("", decode(name, data))
    counts: Counter[str] = Counter()
    errors = (ApplicationError, DataError, statemachine.StateMachineError)
    with reading(name, "not readable as reStructuredText", "mend its markup", *errors):
        body = _rst_body(text, counts)
        # docutils writes a note as <aside>, which elsewhere is no content
        soup = BeautifulSoup(re.sub(r"<(/?)aside\b", r"<\1div", body), "html.parser")
        for literal in soup.find_all("span", class_="literal"):
            literal.name = "code"
    parsed = from_soup(name, soup)
    return Parsed(parsed.title, parsed.text, {}, dict(counts + Counter(parsed.dropped)))


def _rst_body(text: str, counts: Counter[str]) -> str:
    """HTML of a document; what docutils found at fault is kept as it was written."""
    from docutils import core, nodes
    from docutils.writers import html5_polyglot

    tree = core.publish_doctree(text, parser=_rst_parser(counts), settings_overrides=_RST_SETTINGS)
    for message in list(tree.findall(nodes.system_message)):
        faulty = [child for child in message.children if isinstance(child, nodes.literal_block)]
        if message.parent is not None:
            message.parent.replace(message, faulty)
    for problem in list(tree.findall(nodes.problematic)):
        problem.parent.replace(problem, nodes.Text(problem.astext()))
    writer = html5_polyglot.Writer()
    core.publish_from_doctree(tree, writer=writer, settings_overrides=_RST_SETTINGS)
    return str(writer.parts["body"])


def _rst_parser(counts: Counter[str]) -> Any:
    """A docutils parser that knows what to do with any role or directive.

    Registering them would change docutils for the whole process, so its states are subclassed.
    """
    from docutils.parsers.rst import Parser, states

    own: list[type] = []
    nested: list[Any] = []

    class Reading:
        """Mixed into each state: nested parsing uses these states too, and no other's cache."""

        nested_sm_cache = nested

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.nested_sm_kwargs = {"state_classes": own, "initial_state": "Body"}

        def explicit_construct(self: Any, match: re.Match[str]) -> Any:
            found = _RST_DIRECTIVE.match(match.string)
            handler = _rst_directive(found[1].lower(), self, counts) if found else None
            if found and handler:
                return self.run_directive(handler, found, found[1].lower(), {})
            return super().explicit_construct(match)  # type: ignore[misc]

    own += [type(each.__name__, (Reading, each), {}) for each in states.state_classes]
    parser = Parser(inliner=_rst_inliner())
    parser.state_classes = tuple(own)
    return parser


def _rst_directive(kind: str, state: Any, counts: Counter[str]) -> Any:
    """How to read a directive that docutils alone would lose; None where it knows its own."""
    from docutils.parsers.rst import directives

    if kind in _RST_LEFT_OUT:
        counts[_RST_LEFT_OUT[kind]] += 1
        return _rst_handler(lambda directive: [])
    if kind in ("code", "code-block", "sourcecode"):
        return _rst_handler(_rst_code)
    known, _ = directives.directive(kind, state.memo.language, state.document)
    return None if known else _rst_handler(_rst_unknown)


def _rst_handler(run: Callable[[Any], list[Any]]) -> Any:
    from docutils.parsers.rst import Directive

    class Handler(Directive):
        optional_arguments = 1
        final_argument_whitespace = True
        has_content = True
        # Any option of any extension; not empty, as docutils reads no option where it is.
        option_spec = defaultdict(lambda: str, {"name": str})  # noqa: RUF012

        def run(self) -> Any:
            return run(self)

    return Handler


def _rst_code(directive: Any) -> list[Any]:
    from docutils import nodes

    # Where no blank line parts them, the code's first paragraph arrives as the argument.
    language, _, first = "".join(directive.arguments).partition("\n")
    code = "\n".join([*first.splitlines(), *directive.content])
    block = nodes.literal_block(code, code, classes=["code", *language.split()])
    caption = directive.options.get("caption")
    return [*([nodes.paragraph("", caption)] if caption else []), block]


def _rst_unknown(directive: Any) -> list[Any]:
    """The words of a directive: its argument as a paragraph, then its content."""
    from docutils import nodes

    argument = " ".join("".join(directive.arguments).split())
    words = f"{_RST_LABELS.get(directive.name, '')} {argument}".strip()
    box = nodes.container()
    if words:
        inline, _ = directive.state.inline_text(words, directive.lineno)
        box += nodes.paragraph("", "", *inline)
    directive.state.nested_parse(directive.content, directive.content_offset, box)
    return [*box.children]


def _rst_inliner() -> Any:
    """One that gives the words of roles it does not know, such as Sphinx's."""
    from docutils import nodes, utils
    from docutils.parsers.rst import roles, states

    inliner: Any = states.Inliner()
    as_known = inliner.interpreted

    def interpreted(rawsource: str, text: str, role: str, lineno: int) -> Any:
        known, _ = roles.role(role, inliner.language, lineno, inliner.reporter)
        if known:
            return as_known(rawsource, text, role, lineno)
        words = utils.unescape(text)
        titled = re.fullmatch(r"([^<]*[^<\s])\s*<[^<>]*>", words)
        return [nodes.Text(titled[1] if titled else words.lstrip("~!"))], []

    # Not a subclass: docutils builds its patterns from `vars()` of the inliner's own class.
    inliner.interpreted = interpreted
    return inliner
