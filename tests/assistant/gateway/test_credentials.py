"""Where keys come from, and where they do not show."""

import os
from pathlib import Path

import pytest

from assistant.gateway.credentials import Credentials, NoKey
from assistant.gateway.settings import ModelEntry

SECRET = "sk-very-secret"


def entry(**where: object) -> ModelEntry:
    return ModelEntry.model_validate({"name": "m", "model": "m", **where})


def test_a_key_comes_from_the_environment_as_it_is_now() -> None:
    environment = {"KEY": f" {SECRET}\n"}
    credentials = Credentials(entry(key_env="KEY"), environment)
    assert credentials.key() == SECRET
    environment["KEY"] = "other"
    assert credentials.key() == "other"


def test_a_model_may_need_no_key() -> None:
    assert Credentials(entry(), {}).key() is None


def test_a_key_file_is_read_each_time_also_where_it_looks_the_same(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    credentials = Credentials(entry(key_file=file))
    assert credentials.key() == SECRET
    before = file.stat()
    file.write_text("x" * len(SECRET) + "\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert credentials.key() == "x" * len(SECRET)


def test_a_link_that_points_elsewhere_is_another_key(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old-key")
    (tmp_path / "new").write_text("new-key")
    (tmp_path / "key").symlink_to("old")
    credentials = Credentials(entry(key_file=tmp_path / "key"))
    assert credentials.key() == "old-key"
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(tmp_path / "key")
    assert credentials.key() == "new-key"


def test_a_missing_key_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="variable KEY"):
        Credentials(entry(key_env="KEY"), {}).key()
    with pytest.raises(NoKey, match="No such file"):
        Credentials(entry(key_file=tmp_path / "none")).key()


@pytest.mark.parametrize("content", [b"", b" \n", b"two\nlines", b"tab\tin", b"\xff\xfe", b"k\0y"])
def test_what_can_be_no_key_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content + (SECRET.encode() if content.strip() else b""))
    with pytest.raises(NoKey) as raised:
        Credentials(entry(key_file=file)).key()
    shown: BaseException | None = raised.value
    while shown is not None:
        assert SECRET not in repr(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def test_a_key_does_not_show_in_repr() -> None:
    credentials = Credentials(entry(key_env="KEY"), {"KEY": SECRET})
    credentials.key()
    assert SECRET not in repr(credentials)
    assert SECRET not in f"{credentials!s}"
