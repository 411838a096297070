"""The container file, read: it is built by hand (docs/delivery.md), which takes minutes and 5 GB."""

import re
import tomllib
from fnmatch import fnmatch

from tests.conftest import ROOT

FILE = ROOT / "deploy" / "Containerfile"
IGNORED = ROOT / "deploy" / "Containerfile.containerignore"


def stages() -> list[list[list[str]]]:
    """The instructions of each stage, as words, without comments and with lines joined."""
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    begins = [number for number, line in enumerate(lines) if line[0] == "FROM"]
    return [lines[one:two] for one, two in zip(begins, [*begins[1:], len(lines)], strict=True)]


def values(stage: list[list[str]], instruction: str) -> list[list[str]]:
    return [line[1:] for line in stage if line[0] == instruction]


def copied() -> list[str]:
    """The sources of every COPY out of the repository."""
    lines = [each for stage in stages() for each in values(stage, "COPY")]
    return [source for line in lines if "--from=build" not in line for source in line[:-1]]


def test_what_ships_is_not_what_builds() -> None:
    build, final = stages()
    assert build[0][-2:] == ["AS", "build"]
    assert values(final, "COPY")[0] == ["--from=build", "/opt/casebook", "/opt/casebook"]
    installed = " ".join(word for line in values(final, "RUN") for word in line)
    assert not re.search(r"pip|gcc|g\+\+|make|build-essential|-dev\b|venv|curl|wget", installed)


def test_it_runs_as_a_user_that_is_not_root_said_by_number() -> None:
    [user] = values(stages()[-1], "USER")
    assert user == ["10001:10001"]


def test_dependencies_are_the_locked_ones_by_their_hashes() -> None:
    commands = [" ".join(line) for line in values(stages()[0], "RUN")]
    installs = [each for each in commands if "-r requirements/" in each]
    locks = {name for each in installs for name in re.findall(r"-r (\S+)", each)}
    assert locks == {"requirements/torch-cpu.lock", "requirements/runtime.lock"}
    for command in installs:
        assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(command.split())
    [own] = [each for each in commands if " . " in each]
    assert {"--no-deps", "--no-build-isolation"} <= set(own.split())
    assert own.endswith("pip check")


def test_nothing_is_fetched_but_packages() -> None:
    for stage in stages():
        assert not values(stage, "ADD")
        for line in values(stage, "RUN"):
            addresses = re.findall(r"https?://\S+", " ".join(line))
            assert set(addresses) <= {"https://download.pytorch.org/whl/cpu"}


def test_what_is_copied_is_there_and_let_through() -> None:
    let_through = [line[1:] for line in IGNORED.read_text().splitlines() if line.startswith("!")]
    assert "*" in IGNORED.read_text().splitlines()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, each) for each in let_through), source
    assert set(let_through) == set(copied()), "and nothing more is"


def test_package_data_is_among_what_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {
        name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    assert packages <= set(copied())
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= set(copied())


def test_it_starts_the_command_that_the_package_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    final = stages()[-1]
    assert list(project["project"]["scripts"]) == ["casebook"]
    assert values(final, "ENTRYPOINT") == [['["/opt/casebook/bin/casebook"]']]
    assert values(final, "CMD") == [['["serve",', '"--watch"]']]
    assert ["/etc/casebook"] in values(final, "WORKDIR"), "where casebook.toml is looked for"


def test_it_says_what_it_is() -> None:
    [labels] = values(stages()[-1], "LABEL")
    told = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', " ".join(labels)))
    assert set(told) == {"title", "description", "licenses", "version", "revision"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told["licenses"] == project["license"]
    versions = [line[0] for line in values(stages()[-1], "ARG") if line[0].startswith("VERSION")]
    assert versions == [f"VERSION={project['version']}"]
