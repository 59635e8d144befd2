# SPDX-License-Identifier: Apache-2.0
"""What goes into a guest and what may come out."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.kernelvm import transfer


def archive(path: Path, members: dict[str, bytes | None]) -> Path:
    """A tar file as a guest writes it, None for a link to /etc/passwd, with the disk's padding behind it."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content or b""))
    with path.open("ab") as file:
        file.truncate(2**20)
    return path


def test_status_and_files_come_back(tmp_path: Path) -> None:
    disk = archive(tmp_path / "disk", {"status": b"7\n", "out/a": b"1", "out/deep/b": b"2"})
    assert transfer.read_output(disk, tmp_path / "into") == 7
    assert (tmp_path / "into/a").read_bytes() == b"1"
    assert (tmp_path / "into/deep/b").read_bytes() == b"2"


def test_no_member_leaves_the_folder_it_is_put_in(tmp_path: Path) -> None:
    members = {"status": b"0", "out/../../escaped": b"x", "/etc/escaped": b"x", "out/link": None}
    disk = archive(tmp_path / "disk", members)
    assert transfer.read_output(disk, tmp_path / "deep/into") == 0
    assert [path for path in (tmp_path / "deep").rglob("*") if not path.is_dir()] == []
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    "members", [{}, {"out/a": b"1"}, {"status": b"not a number"}], ids=["nothing", "no status", "no number"]
)
def test_a_guest_that_sent_no_status_is_an_error(tmp_path: Path, members: dict[str, bytes | None]) -> None:
    with pytest.raises(LabError, match="without sending a status"):
        transfer.read_output(archive(tmp_path / "disk", members), None)


def test_an_empty_disk_is_an_error(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(2**16))
    with pytest.raises(LabError, match="without sending a status"):
        transfer.read_output(disk, None)


def test_the_guest_gets_the_working_tree_without_what_git_ignores(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "pkg").mkdir(parents=True)
    for name, text in {"a.py": "committed", "pkg/new.py": "not yet", "x.pyc": "", ".gitignore": "*.pyc\n"}.items():
        (checkout / name).write_text(text)
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    subprocess.run(["git", "-C", str(checkout), "add", "a.py"], check=True)
    disk = tmp_path / "disk"
    transfer.write_input(disk, checkout, command=["echo", "two words"], environment={"KEY": "a 'b'"})
    with tarfile.open(disk) as tar:
        assert set(tar.getnames()) == {
            "work/a.py", "work/pkg/new.py", "work/.gitignore", "kernelvm/init", "kernelvm/command",
        }  # fmt: skip
        command = tar.extractfile("kernelvm/command")
        assert command is not None
        script = command.read().decode()
    shell = ["sh", "-c", f'{script.replace("exec", "")}echo "$KEY"']
    answer = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert answer.stdout == "two words\na 'b'\n"


def test_a_tree_without_git_is_sent_without_caches_and_environments(tmp_path: Path) -> None:
    for name in ("a.py", ".venv/lib.py", "pkg/__pycache__/a.pyc", "pkg/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert transfer.checkout_files(tmp_path) == ["a.py", "pkg/b.py"]


def test_a_shell_is_asked_for_by_sending_no_command(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    transfer.write_input(tmp_path / "disk", tmp_path / "checkout", command=None)
    with tarfile.open(tmp_path / "disk") as tar:
        assert {"kernelvm/init", "kernelvm/shell"} == set(tar.getnames())
