"""Source code: chunks that follow functions and classes, and lose nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from index.embedder import llm_tokens
from index.schema import Chunk, contextual_text
from ingest.chunk import ChunkSizes
from ingest.chunk_code import chunk_code
from ingest.parsers import code, parse
from ingest.parsers.code import CODE_SUFFIXES, outline, read_code

LANGUAGES = sorted(set(CODE_SUFFIXES.values()))


def word_count(text: str) -> int:
    return len(text.split())


def sizes(target: int = 20) -> ChunkSizes:
    return ChunkSizes(word_count, word_count, model_limit=2 * target, target=target)


def cut(text: str, language: str, target: int = 20) -> list[tuple[tuple[str, ...], str]]:
    chunks = chunk_code(("a",), text, language, sizes(target))
    assert_covers(text, chunks)
    return [(each.heading_path, text[each.start : each.end]) for each in chunks]


def assert_covers(text: str, chunks: list[Chunk]) -> None:
    end = 0
    for piece in chunks:
        assert not text[end : piece.start].strip(), "code lost between two chunks"
        assert end <= piece.start <= piece.body_start < piece.end
        end = piece.end
    assert not text[end:].strip(), "code lost at the end"


PYTHON = '''"""The payments of a shop."""

import os

LIMIT = 10


# What is given back.
@traced
def refund(order: str, amount: int) -> None:
    """Give money back once."""
    if amount > LIMIT:
        raise ValueError("that is too much to be given back")
    os.write(1, order.encode())


class PaymentService:
    """Takes money and gives it back."""

    retries = 3

    def charge(self, order: str, amount: int) -> None:
        """Take money from a card and write it down."""
        for attempt in range(self.retries):
            self.send(order, amount, attempt)

    # Asked for by law.
    def refund(self, order: str) -> None:
        """Give all of it back, whoever asks, at once."""
        self.send(order, -self.amounts[order], 0)
'''


def test_functions_and_classes_are_chunks_of_their_own_with_what_stands_above_them() -> None:
    chunks = cut(PYTHON, "python", 34)
    assert [path for path, _ in chunks] == [
        *((), ("refund",), ("PaymentService",)),
        *(("PaymentService", "charge"), ("PaymentService", "refund")),
    ]
    bodies = [body for _, body in chunks]
    assert bodies[1].startswith("# What is given back.\n@traced\ndef refund")
    assert bodies[2].startswith("class PaymentService:\n")
    assert bodies[2].endswith("retries = 3")
    assert bodies[4].startswith("    # Asked for by law.\n    def refund")


def test_small_neighbours_are_packed() -> None:
    text = "def a():\n    return 1\n\n\ndef b():\n    return 2\n\n\ndef c():\n    return 3\n"
    assert cut(text, "python") == [((), text.strip())]
    methods = "class Big:\n" + text.replace("def", "    def").replace("return", "    return") * 3
    assert {path for path, _ in cut(methods, "python")} == {("Big",)}


def test_large_function_is_cut_between_statements_and_keeps_its_name() -> None:
    statements = "".join(f"    call_{n}(\n        {n},\n        {n},\n    )\n" for n in range(12))
    chunks = cut(f"def long(a, b):\n{statements}\n\ndef next_one():\n    pass\n", "python")
    assert [path for path, _ in chunks[:-1]] == [("long",)] * (len(chunks) - 1)
    assert chunks[-1][0] == ("next_one",)
    assert chunks[0][1].startswith("def long(a, b):\n    call_0(")
    assert all(body.endswith("    )") for _, body in chunks[:-1])


SAMPLES = {
    "go": (
        "package pay\n\n// Service takes money.\ntype Service struct {\n\tlimit int\n}\n\n"
        "// Refund gives it back.\nfunc (s *Service) Refund(order string) error {\n\treturn nil\n}\n",
        {("Service",), ("Service", "Refund")},
    ),
    "javascript": (
        "import x from 'y';\n\nexport class Service {\n  refund(order) {\n    return order.back;\n  }\n}\n\n"
        "const charge = async (order) => {\n  await x(order);\n};\n",
        {("Service",), ("charge",)},
    ),
    "typescript": (
        "export interface Order {\n  id: string;\n}\n\nnamespace Shop {\n  export function pay(o: Order) {"
        "\n    return o.id;\n  }\n}\n\nenum Kind {\n  A,\n  B,\n}\n",
        {("Order",), ("Shop",), ("Kind",)},
    ),
    "tsx": (
        "function View() {\n  return <b>x</b>;\n}\n\nfunction Other() {\n  return 1;\n}\n",
        {("View",), ("Other",)},
    ),
    "java": (
        "package a;\n\n/** Takes money. */\n@Bean\npublic class Service {\n  int limit;\n\n  void refund() {\n"
        "    limit = 1;\n  }\n}\n\nrecord Order(int id) {\n}\n",
        {("Service",), ("Order",)},
    ),
    "rust": (
        "use a::b;\n\n/// Takes money.\n#[derive(Debug)]\nstruct Service {\n    limit: u32,\n}\n\n"
        "impl Pay for Service {\n    fn refund(&self) -> u32 {\n        self.limit\n    }\n}\n",
        {("Service",)},
    ),
    "bash": (
        "#!/bin/bash\nset -e\n\n# Gives back.\nrefund() {\n  echo back now\n}\n\nrefund everything here\n",
        {("refund",)},
    ),
    "c": (
        "#include <a.h>\n\nstruct order {\n  int id;\n};\n\nstatic int *refund(struct order *o) {\n  return 0;\n}\n",
        {("order",), ("refund",)},
    ),
    "cpp": (
        "namespace pay {\nclass Service {\n  int limit;\n};\n}\n\ntemplate <class T>\nvoid Service::refund(T o) {\n"
        "  limit = o;\n}\n",
        {("pay",), ("Service", "refund")},
    ),
    "ruby": (
        "require 'a'\n\nmodule Pay\n  class Service\n    def refund(order)\n      order.back\n    end\n  end\nend\n\n"
        "def charge(order)\n  order.take\nend\n",
        {("Pay",), ("charge",)},
    ),
    "hcl": (
        'variable "region" {\n  type = string\n}\n\n# Holds logs.\nresource "aws_s3_bucket" "logs" {\n'
        '  bucket = "x"\n}\n',
        {("variable region",), ("resource aws_s3_bucket logs",)},
    ),
}


@pytest.mark.parametrize("language", sorted(SAMPLES))
def test_definitions_of_each_language_are_named(language: str) -> None:
    text, names = SAMPLES[language]
    found = {path for path, _ in cut(text, language, 7) if path}
    assert names <= found | {path[:1] for path in found}, found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_grammar(language: str) -> None:
    assert outline("", language)


def test_wrapped_definitions_are_named_once() -> None:
    body = "".join(f"    await call(order, {n});\n" for n in range(20))
    text = f"export default class Service {{\n  async refund(order) {{\n{body}  }}\n}}\n"
    assert {path for path, _ in cut(text, "javascript")} == {("Service", "refund")}
    text = "@a\n@b(1)\nclass Service:\n" + "".join(f"    field_{n} = {n} + 1\n" for n in range(30))
    assert {path for path, _ in cut(text, "python")} == {("Service",)}


def test_comment_apart_from_a_function_is_not_pulled_to_it() -> None:
    text = f"# {'licence ' * 18}\n\n# About it.\ndef a():\n    return '{'x ' * 12}'\n"
    assert cut(text, "python")[1][1].startswith("# About it.\n")


def test_what_is_no_code_is_cut_at_blank_lines() -> None:
    text = "\n\n".join(f"this is {n} )))) no ((( code }} at all ::: {{" for n in range(8))
    bodies = [body for _, body in cut(text, "python")]
    assert len(bodies) > 2
    assert all(body.startswith("this is") for body in bodies)


def test_letters_beyond_ascii_move_no_boundary() -> None:
    text = PYTHON.replace("money", "Geld 漢字 🎉")
    assert [path for path, _ in cut(text, "python", 36)] == [
        path for path, _ in cut(PYTHON, "python", 34)
    ]


def test_code_is_read_as_it_is() -> None:
    data = b"\xef\xbb\xbfdef a():\r\n\treturn 1\r\n"
    parsed = read_code("src/a_b.py", data)
    assert (parsed.title, parsed.text) == ("a_b.py", "def a():\n\treturn 1\n")
    assert parsed.metadata == {"language": "python"}
    assert parse("src/a_b.py", data) == parsed


pieces = st.sampled_from(
    [
        *(
            "def f(a):\n",
            "    return 1\n",
            "class A:\n",
            "    # c\n",
            "# c\n",
            "\n",
            "\n\n",
            "@d\n",
        ),
        *(
            "x = {\n",
            "}\n",
            "{",
            ")",
            "func f() {\n",
            "export ",
            "function g() { a(); }\n",
            "\t",
            " ",
        ),
        *(
            '"""',
            "'",
            "/* ",
            "*/",
            "// c\n",
            "é漢🎉",
            "word " * 12,
            "x" * 60,
            "if x:\n",
            "fi\n",
            "end\n",
        ),
        *("\x0c", "\u2028", "\u00a0", 'resource "a" "b" {\n', "#[a]\n", "impl A for B {\n"),
    ]
)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(LANGUAGES), st.lists(pieces, max_size=50).map("".join))
@example("python", "class A:\n" + "    def f(self): pass\n" * 40)
def test_chunks_cover_any_code_and_fit(language: str, text: str) -> None:
    small = sizes(12)
    chunks = chunk_code(("a",), text, language, small)
    assert_covers(text, chunks)
    for each in chunks:
        body = text[each.start : each.end]
        assert word_count(body) <= small.target or len(body.split()) == 1
        context = contextual_text(("a",), each.heading_path, body)
        assert small.model_count(context) <= small.model_limit


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LANGUAGES), st.text(max_size=200))
def test_chunks_cover_any_text(language: str, text: str) -> None:
    assert_covers(text, chunk_code(("a",), text, language, sizes()))


def test_this_repository_is_covered() -> None:
    count: Callable[[str], int] = llm_tokens()
    real = ChunkSizes(count, count, 256)
    for file in sorted(Path(__file__).parents[2].glob("ingest/*.py")):
        text = file.read_text()
        chunks = chunk_code((file.name,), text, "python", real)
        assert_covers(text, chunks)
        assert max(each.tokens for each in chunks) <= real.target


def test_deep_code_is_cut_without_a_fault() -> None:
    deep = "x = " + "(" * 5000 + "1" + ")" * 5000 + "\n"
    assert_covers(deep, chunk_code(("a",), deep, "python", sizes()))
    chain = "x = " + " + ".join("abcdefgh" for _ in range(5000)) + "\n"
    assert_covers(chain, chunk_code(("a",), chain, "python", sizes()))


def test_code_that_tree_sitter_mends_for_ever_is_cut_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(code, "MAX_SECONDS", 0.1)
    text = (
        '\ndef f(a):\n\xa0 """\n))x = {\n\n\nclass A:\n\x0c@d\n{def f(a):\nexport word word word word word word wo'
        "rd word word word word word   function g() { a(); }\nfunc f() {\n\n@d\n'xxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/* class A:\nif x:\nx = {\n#[a]\nx = {\n\n\n    # c\n class "
        'A:\ndef f(a):\nfunc f() {\n*/func f() {\nresource "a" "b" {\n"""{    return 1\n\n    # c\n\n\'fi\nexp'
        "ort \x0c# c\nfi\nexport x = {\n"
    )
    assert outline(text, "tsx") is None
    assert_covers(text, chunk_code(("a",), text, "tsx", sizes()))
    assert outline("let x = 1\n", "tsx")


def test_letters_beyond_ascii_do_not_break_the_bash_grammar() -> None:
    odd = "{\U000eccd5{Z*\U000ecec8Cn\U000ee920\U0009c5f4!{\U00086c7e"
    for shift in range(200):
        outline(f"é{' ' * shift}{odd}\n" * 3, "bash")
