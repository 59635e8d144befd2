# SPDX-License-Identifier: Apache-2.0
"""What names a built image: everything that goes into it, and nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.images import inputs
from lab.images.base import NAME
from lab.images.inputs import CHECKOUT, COMPONENTS, DOCKERFILE


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with a commit."""
    for name, text in {
        ".dockerignore": "*\n", "Dockerfile": "FROM x\n", "LICENSE": "", "LICENSES/x": "", "README.md": "",
        "requirements/runtime.txt": "a==1\n", "requirements/build.txt": "b==1\n", "footprint/keys.py": "",
        "pyproject.toml": '[project]\nversion = "1.2.3"\n', "nodeagent/cli.py": "", "bpf/a.c": "",
        "extender/cli.py": "", "docs/README.md": "",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def git(checkout: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", "-C", str(checkout), *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(checkout: Path) -> str:
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "x")
    return git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("changed", "rebuilt"),
    [
        ("footprint/keys.py", {"nodeagent", "extender"}),
        ("requirements/runtime.txt", {"nodeagent", "extender"}),
        (".dockerignore", {"nodeagent", "extender"}),
        ("nodeagent/cli.py", {"nodeagent"}),
        ("Dockerfile", {"nodeagent", "extender"}),
        ("bpf/a.c", {"nodeagent"}),
        ("bpf/new.h", {"nodeagent"}),
        ("extender/cli.py", {"extender"}),
        ("docs/README.md", set()),
        ("footprint/__pycache__/keys.pyc", set()),
    ],
)
def test_an_image_changes_with_what_goes_into_it_and_not_with_the_rest(
    checkout: Path, changed: str, rebuilt: set[str]
) -> None:
    before = {name: inputs.of(name, checkout).files for name in COMPONENTS}
    (checkout / changed).parent.mkdir(exist_ok=True)
    with (checkout / changed).open("a") as file:
        file.write("\n# changed\n")
    assert {name for name in COMPONENTS if inputs.of(name, checkout).files != before[name]} == rebuilt


def test_the_revision_is_the_last_commit_that_touched_what_goes_in(checkout: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    (checkout / "docs/README.md").write_text("more")
    commit(checkout)
    assert inputs.of("extender", checkout).revision == first
    (checkout / "extender/cli.py").write_text("pass\n")
    assert inputs.of("extender", checkout).revision == f"{first}-dirty"
    second = commit(checkout)
    assert inputs.of("extender", checkout).revision == second
    assert inputs.of("nodeagent", checkout).revision == first


def test_a_checkout_without_history_says_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
    assert inputs.of("extender", checkout).revision == "unknown"


def test_an_image_is_called_as_the_chart_calls_it_and_has_the_projects_version(checkout: Path) -> None:
    made = inputs.of("nodeagent", checkout)
    assert (made.name, made.version) == ("traffic-footprint/nodeagent", "1.2.3")


def test_an_image_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(LabError, match="nodeagent, extender"):
        inputs.of("scheduler")


def stages() -> dict[str, tuple[str, str]]:
    """The Dockerfile's stages by name: what each stands on, and its text."""
    text = (CHECKOUT / DOCKERFILE).read_text()
    parts = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)
    return {name: (below, body) for below, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}


def copied(stage: str) -> set[str]:
    """What ``stage``, and the stages that it stands on or copies from, take from the build context."""
    if stage not in stages():
        return set()
    below, body = stages()[stage]
    own = {
        source for line in re.findall(r"^COPY (?!--from)(.+)$", body, re.MULTILINE) for source in line.split()[:-1]
    }
    return own.union(copied(below), *map(copied, re.findall(r"^COPY --from=(\S+)", body, re.MULTILINE)))


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_dockerfile_copies_only_what_the_key_knows_and_the_context_lets_through(component: str) -> None:
    let_through = {
        line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied(component) <= let_through
    assert inputs.files(CHECKOUT, copied(component))
    assert set(inputs._SHARED) | set(inputs._OWN[component]) == copied(component)


def test_every_stage_stands_on_one_base_that_is_pinned_by_digest() -> None:
    text = (CHECKOUT / DOCKERFILE).read_text()
    assert {below for below, _ in stages().values()} - stages().keys() == {"${BASE_NAME}@${BASE_DIGEST}"}
    assert f"ARG BASE_NAME={NAME}\n" in text
    assert re.search(r"^ARG BASE_DIGEST=sha256:[0-9a-f]{64}$", text, re.MULTILINE)


def test_both_images_stand_on_the_same_stage_and_the_same_wheels() -> None:
    assert {stages()[component][0] for component in COMPONENTS} == {"runtime"}
    assert {stages()[f"{component}-files"][0] for component in COMPONENTS} == {"packages"}


def test_every_file_from_the_index_must_have_a_hash_that_the_lock_lists() -> None:
    text = (CHECKOUT / DOCKERFILE).read_text().replace("\\\n", "")
    installs = [line for line in re.findall(r"pip\S* .*?install [^&]*", text) if "uninstall" not in line]
    fetching = [line for line in installs if "--no-index" not in line and "apt-get" not in line]
    assert len(fetching) == 2
    assert all("--require-hashes" in line and "--only-binary :all:" in line for line in fetching)
