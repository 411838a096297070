"""The Terraform module, parsed: no Terraform and no provider is here to plan it with."""

import re
from pathlib import Path

import pytest
import tree_sitter_hcl
from tree_sitter import Language, Node, Parser

from tests.deploy.manifests import DEPLOY

FILES = sorted((DEPLOY / "terraform").glob("*.tf"))
TEXT = "\n".join(path.read_text() for path in FILES)


def blocks(node: Node) -> list[list[str]]:
    """The words in front of every block at the top: `["resource", "aws_s3_bucket", "snapshots"]`."""
    [body] = [each for each in node.children if each.type == "body"]
    return [
        [
            word.text.decode().strip('"')
            for word in block.children
            if word.type in {"identifier", "string_lit"} and word.text
        ]
        for block in body.children
        if block.type == "block"
    ]


def declared(kind: str) -> set[str]:
    parser = Parser(Language(tree_sitter_hcl.language()))
    found = blocks(parser.parse(TEXT.encode()).root_node)
    return {".".join(words[1:]) for words in found if words[0] == kind}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_hcl(path: Path) -> None:
    root = Parser(Language(tree_sitter_hcl.language())).parse(path.read_bytes()).root_node
    assert not root.has_error


def test_variables_are_those_that_are_used() -> None:
    assert declared("variable") == set(re.findall(r"\bvar\.(\w+)", TEXT))


def test_what_is_referred_to_is_declared() -> None:
    referred = set(re.findall(r"(?<![\w.])(aws_\w+\.\w+)", TEXT))
    assert referred <= declared("resource")
    assert set(re.findall(r"\bdata\.(\w+\.\w+)", TEXT)) == declared("data")


def test_the_bucket_is_closed_kept_and_encrypted() -> None:
    around = {name.partition(".")[0] for name in declared("resource")}
    assert around >= {
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_versioning",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_lifecycle_configuration",
        "aws_s3_bucket_policy",
    }
    closed = re.findall(r"(?:block|ignore|restrict)_public_\w+\s*=\s*(\w+)", TEXT)
    assert closed == ["true"] * 4


def test_the_role_can_neither_remove_old_versions_nor_reach_other_buckets() -> None:
    granted = set(re.findall(r'"s3:(\w+)"', TEXT))
    assert granted == {
        "ListBucket",
        "GetObject",
        "PutObject",
        "DeleteObject",
        "AbortMultipartUpload",
    }
    assert not re.search(r'resources\s*=\s*\["\*"\]', TEXT)
