# SPDX-License-Identifier: Apache-2.0
"""The journal's file: whole or not at all, one holder, and believed only if nobody else could have written it."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from nodeagent.tuning.journal import Journal, JournalError, TableRecord
from nodeagent.tuning.journal_file import JournalFile, boot_id, here, namespaces
from nodeagent.tuning.modes import Refusal, TuningRefusedError
from nodeagent.tuning.untune import take_back, untune


def refused(folder: Path) -> Refusal:
    with pytest.raises(TuningRefusedError) as refusal:
        JournalFile(folder, 1)
    return refusal.value.refusal


def test_what_was_written_is_read_and_removed(tmp_path: Path) -> None:
    file = JournalFile(tmp_path, 1)
    assert file.read() is None
    written = Journal("b", 1, (TableRecord("f"),))
    file.write(Journal("b", 1))
    file.write(written)
    assert file.read() == written
    assert namespaces(tmp_path) == [1]
    file.remove()
    assert file.read() is None
    file.forget()
    assert not list(tmp_path.iterdir())
    file.close()


def test_one_agent_holds_it(tmp_path: Path) -> None:
    file = JournalFile(tmp_path, 1)
    assert refused(tmp_path) is Refusal.HELD
    file.close()
    JournalFile(tmp_path, 1).close()


def test_a_lock_that_its_holder_removed_meanwhile_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, flock = JournalFile(tmp_path, 1), fcntl.flock

    def let_go(descriptor: int, operation: int) -> None:
        """As ``untune`` ends, between another agent's opening of the lock and its taking."""
        monkeypatch.setattr(fcntl, "flock", flock)
        before.forget()
        before.close()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", let_go)
    file = JournalFile(tmp_path, 1)
    assert refused(tmp_path) is Refusal.HELD
    file.close()


def test_a_folder_that_is_missing_or_open_to_others_keeps_no_journal(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") is Refusal.NO_JOURNAL
    tmp_path.chmod(0o777)
    assert refused(tmp_path) is Refusal.NO_JOURNAL


@pytest.mark.parametrize("spoil", ["mode", "link", "content"])
def test_a_journal_that_others_may_have_written_is_not_believed(tmp_path: Path, spoil: str) -> None:
    file = JournalFile(tmp_path, here())
    file.write(Journal("b", here()))
    if spoil == "mode":
        file.path.chmod(0o644)
    elif spoil == "link":
        file.path.rename(tmp_path / "elsewhere")
        file.path.symlink_to(tmp_path / "elsewhere")
    else:
        file.path.write_bytes(b"{")
    with pytest.raises(JournalError):
        file.read()
    file.close()
    assert "is not used" in take_back(tmp_path).problems[0]
    assert file.path.exists()


def test_a_journal_from_before_a_restart_of_the_machine_names_nothing_that_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = JournalFile(tmp_path, 1)
    file.write(Journal("another boot", 1, (TableRecord(),)))
    file.close()
    assert untune(tmp_path) == 0
    assert "restart of the machine" in capsys.readouterr().out
    assert untune(tmp_path) == 0
    assert "nothing was set" in capsys.readouterr().out


def test_another_network_namespaces_journal_is_left_and_named(tmp_path: Path) -> None:
    file = JournalFile(tmp_path, here() + 1)
    file.write(Journal(boot_id(), here() + 1, (TableRecord(),)))
    file.close()
    assert "another network namespace" in take_back(tmp_path).problems[0]
    assert take_back(tmp_path, others_run=True).problems == []
    assert file.path.exists()
