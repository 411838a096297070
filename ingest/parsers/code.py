"""Source code: kept as it is written, and outlined by tree-sitter into definitions and statements."""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

from ingest.parsers.parsed import Parsed
from ingest.parsers.text import decode

CODE_SUFFIXES: Mapping[str, str] = {
    **{".py": "python", ".pyi": "python", ".go": "go", ".java": "java", ".rs": "rust"},
    **{".js": "javascript", ".jsx": "javascript", ".mjs": "javascript", ".cjs": "javascript"},
    **{".ts": "typescript", ".mts": "typescript", ".cts": "typescript", ".tsx": "tsx"},
    **{".sh": "bash", ".bash": "bash", ".rb": "ruby", ".tf": "hcl", ".hcl": "hcl", ".c": "c"},
    # A header is read as C++, which takes C too; as C it would lose every class.
    **dict.fromkeys((".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), "cpp"),
}
"""The language of a file by its suffix, in lower case."""

_GRAMMARS = {
    **{name: (f"tree_sitter_{name}", "language") for name in set(CODE_SUFFIXES.values())},
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
}

_DEFINITIONS = frozenset(
    # Python, Go, JavaScript and TypeScript
    "function_definition class_definition function_declaration method_declaration type_spec "
    "generator_function_declaration class_declaration method_definition interface_declaration "
    "enum_declaration type_alias_declaration abstract_class_declaration internal_module module "
    # Java, Rust
    "record_declaration annotation_type_declaration constructor_declaration function_item "
    "struct_item enum_item trait_item impl_item mod_item macro_definition union_item "
    # C and C++, Ruby, HCL
    "struct_specifier class_specifier enum_specifier namespace_definition method "
    "singleton_method class block".split()
)
_WRAPPERS = frozenset(
    "decorated_definition export_statement template_declaration type_declaration "
    "lexical_declaration type_definition declaration ambient_declaration".split()
)
"""What stands around one definition and belongs to it."""

_COMMENTS = frozenset("comment line_comment block_comment attribute_item decorator".split())
_FUNCTION_VALUES = frozenset("arrow_function function_expression class generator_function".split())

MAX_UNIT = 40
"""Bytes: what is shorter is never cut, so its inside is not looked at."""

MAX_BYTES, MAX_SECONDS = 2 * 1024 * 1024, 2.0
MAX_DEPTH = 60
MAX_NAME = 60
_MAX_BROKEN = 0.5
"""The share of a file that may be no code of its language before its outline is worth nothing."""

_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_LABELS = frozenset(("identifier", "string_lit"))


@dataclass(frozen=True)
class Unit:
    """A piece `[start, end)` of code, in characters: a definition if it has names, or a statement.

    `names` is `("refund",)`, or for a method that stands outside its type `("Service", "refund")`.
    The comments and decorators directly above a definition are part of it.
    """

    start: int
    end: int
    names: tuple[str, ...]
    children: tuple["Unit", ...]


def read_code(name: str, data: bytes) -> Parsed:
    """The text as it is; its title is the file's name."""
    path = PurePosixPath(name)
    language = CODE_SUFFIXES[path.suffix.lower()]
    return Parsed(path.name, decode(name, data), {"language": language})


def outline(text: str, language: str) -> Unit | None:
    """The definitions and statements of a file, as a tree.

    None if it is no code of that language, over 2 MiB (generated), or of the few bytes that keep
    tree-sitter mending them for ever. Meant to run where hostile files are parsed: grammars are C.
    """
    data = text.encode("utf-8", "surrogatepass")
    root = _parsed(data, language) if len(data) <= MAX_BYTES else None
    if root is None or root.is_error:
        return None
    broken = sum(child.end_byte - child.start_byte for child in root.children if child.is_error)
    if broken > _MAX_BROKEN * len(data):
        return None
    unit = _unit(root, language, False, 0)
    return unit if data.isascii() else _in_characters(unit, data)


def _parsed(data: bytes, language: str) -> Any:
    """The root node, or None where it takes too long."""
    if language == "bash":
        # tree-sitter-bash 0.25 asks isalpha() of any letter, which past ASCII reads outside its table.
        data = _BEYOND_ASCII.sub(b"_", data)
    parser = _parser(language)
    until = time.monotonic() + MAX_SECONDS
    try:
        return parser.parse(
            lambda offset, _: data[offset:],
            progress_callback=lambda *_: time.monotonic() > until,
        ).root_node
    except ValueError:
        parser.reset()
        return None


@cache
def _parser(language: str) -> Any:
    from tree_sitter import Language, Parser

    module, function = _GRAMMARS[language]
    return Parser(Language(getattr(import_module(module), function)()))


def _in_characters(unit: Unit, data: bytes) -> Unit:
    """The same tree with offsets in characters for those in bytes of UTF-8."""
    offsets = sorted({offset for each in _walk(unit) for offset in (each.start, each.end)})
    characters: dict[int, int] = {}
    before = count = 0
    for offset in offsets:
        count += len(data[before:offset].decode("utf-8", "surrogatepass"))
        characters[offset] = count
        before = offset

    def moved(each: Unit) -> Unit:
        children = tuple(moved(child) for child in each.children)
        return Unit(characters[each.start], characters[each.end], each.names, children)

    return moved(unit)


def _walk(unit: Unit) -> Iterator[Unit]:
    yield unit
    for child in unit.children:
        yield from _walk(child)


# --- definitions ------------------------------------------------------------------------------


def _unit(node: Any, language: str, named: bool, depth: int) -> Unit:
    """A node with what is in it, in bytes; comments are joined to what they stand above."""
    names = _names(node, language) if named else ()
    if node.end_byte - node.start_byte < MAX_UNIT or depth >= MAX_DEPTH:
        return Unit(node.start_byte, node.end_byte, names, ())
    # What a wrapper wraps has the wrapper's name already.
    inner_named = not (node.type in _WRAPPERS and (names or not named))
    children: list[Unit] = []
    above: tuple[int, int] | None = None
    last_row = -1
    for child in node.named_children:
        adjoins = above is not None and child.start_point.row - last_row <= 1
        if child.type in _COMMENTS:
            if child.start_point.row != last_row or adjoins:
                if above and not adjoins:
                    children.append(Unit(*above, (), ()))
                above = (above[0] if above and adjoins else child.start_byte, child.end_byte)
        else:
            unit = _unit(child, language, inner_named, depth + 1)
            if above and adjoins:
                unit = replace(unit, start=above[0])
            elif above:
                children.append(Unit(*above, (), ()))
            above = None
            children.append(unit)
        last_row = child.end_point.row
    if above:
        children.append(Unit(*above, (), ()))
    return Unit(node.start_byte, node.end_byte, names, tuple(children))


def _names(node: Any, language: str) -> tuple[str, ...]:
    """What a definition is called; nothing for any other node."""
    if node.type in _WRAPPERS:
        return _wrapped_names(node, language)
    if node.type not in _DEFINITIONS or (node.type == "block") != (language == "hcl"):
        return ()
    if node.type == "block":
        labels = [_text(child).strip('"') for child in node.named_children if child.type in _LABELS]
        return (" ".join(labels)[:MAX_NAME],) if labels else ()
    if node.type.endswith("_specifier") and not node.child_by_field_name("body"):
        return ()  # `struct x` where it is only used
    found = node.child_by_field_name("name") or node.child_by_field_name("type")
    if node.type == "function_definition" and not node.child_by_field_name("name"):
        found = _declared(node)
    if found is None:
        return ()
    name = _text(found).replace("::", ".") if language == "cpp" else _text(found)
    receiver = node.child_by_field_name("receiver")
    if language == "go" and receiver is not None:
        # `(s *Service[T])`: the type is its last word.
        words = re.findall(r"\w+", _text(receiver).partition("[")[0])
        return (*words[-1:], name)
    return tuple(
        part[:MAX_NAME] for part in (name.split(".") if language == "cpp" else [name]) if part
    )


def _wrapped_names(node: Any, language: str) -> tuple[str, ...]:
    """The name of the one definition that a wrapper holds."""
    found = []
    for child in node.named_children:
        if child.type in _DEFINITIONS or child.type in _WRAPPERS:
            found.append(_names(child, language))
        elif child.type == "variable_declarator":
            value, name = child.child_by_field_name("value"), child.child_by_field_name("name")
            if value is not None and name is not None and value.type in _FUNCTION_VALUES:
                found.append((_text(name)[:MAX_NAME],))
    named = [names for names in found if names]
    return named[0] if len(named) == 1 else ()


def _declared(node: Any) -> Any:
    """The name in C's declarators: `int *(*f)(void)` is called f."""
    for _ in range(MAX_DEPTH):
        inner = node.child_by_field_name("declarator")
        if inner is None:
            return node if "identifier" in node.type or "name" in node.type else None
        node = inner
    return None


def _text(node: Any) -> str:
    return " ".join(node.text.decode("utf-8", "replace").split())
