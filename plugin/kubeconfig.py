# SPDX-License-Identifier: Apache-2.0
"""Which cluster, credentials and namespace kubectl would use.

Enters: kubectl's flags and KUBECONFIG. Leaves: the Kubernetes client's configuration, and the namespace.
Guarantees: files are found and merged as kubectl does. The first file that sets a value wins. Empty parts and
missing files are passed over. A relative path starts at the folder of the file that names it. Raises
ClusterConfigError alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from kubernetes import config
from kubernetes.client import Configuration

from footprint.cluster.client import ClusterConfigError
from footprint.commands import nearest
from footprint.text import utf8
from plugin.yaml_documents import load_one

MAX_BYTES: Final = 16 * 2**20
"""Of one file; a kubeconfig has some kilobytes for each cluster."""
DEFAULT: Final = "~/.kube/config"
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SECTIONS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
"""Lists of a kubeconfig, and the key below each entry's name."""
_PATHS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""Values that are file names."""


@dataclass(frozen=True, slots=True)
class Selection:
    """kubectl's flags of the same names; empty: not given."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    impersonate: str = ""
    impersonate_group: str = ""


class Access(NamedTuple):
    """How to reach a cluster."""

    configuration: Configuration
    namespace: str
    """The context's, else ``default``."""
    headers: tuple[tuple[str, str], ...] = ()
    """Of every request: whom to act as."""


def load(selection: Selection, environment: Mapping[str, str] = os.environ) -> Access:
    """Access by ``selection``. Raises ClusterConfigError."""
    files = existing(selection, environment)
    if not files:
        return _in_cluster(selection, environment)
    one = selected(merged(map(read, files)), selection)
    configuration = Configuration()
    try:
        with _logged_errors() as logged:
            config.load_kube_config_from_dict(one, client_configuration=configuration, persist_config=False)
        if logged:  # of an exec plugin that failed, the loader only writes a log
            raise ClusterConfigError(logged[0])
    except Exception as error:  # the loader raises whatever base64, certificates and plugins raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ClusterConfigError(
            f"the credentials in {_listed(files)} cannot be used ({reason}); try them with `kubectl version`"
        ) from error
    namespace = str(one["contexts"][0]["context"].get("namespace") or "default")
    return Access(configuration, namespace, _impersonation(one["users"][0]["user"], selection))


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage() or "an exec plugin failed")


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """The errors that anything logs meanwhile, instead of on standard error."""
    handler, root = _Errors(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.found
    finally:
        root.removeHandler(handler)


def _impersonation(user: Mapping[str, Any], selection: Selection) -> tuple[tuple[str, str], ...]:
    """kubectl's --as and --as-group, else what the kubeconfig's user says of whom to act as.

    The client cannot repeat a header. Sending one of several groups would be to act with other rights, so several
    are refused. So is ``as-user-extra``, which may have several values. Raises ClusterConfigError.
    """
    name, given = selection.impersonate or str(user.get("as") or ""), user.get("as-groups")
    groups = [selection.impersonate_group] if selection.impersonate_group else given
    groups = [str(group) for group in groups] if isinstance(groups, list) else []
    if len(groups) > 1:
        raise ClusterConfigError(
            f"acting as {name!r} needs several groups, and one can be sent; give one --as-group"
        )
    uid, extra = (
        ("", None) if selection.impersonate else (str(user.get("as-uid") or ""), user.get("as-user-extra"))
    )
    if (groups or uid or extra) and not name:
        raise ClusterConfigError("a group or UID to act as needs a user to act as; add --as USER")
    if extra:
        raise ClusterConfigError(
            "the kubeconfig's as-user-extra cannot be sent; name whom to act as with --as USER"
        )
    headers = {"Impersonate-User": name, "Impersonate-Uid": uid, "Impersonate-Group": "".join(groups)}
    return tuple((header, value) for header, value in headers.items() if value)


def existing(selection: Selection, environment: Mapping[str, str]) -> list[Path]:
    """The files to read, first one first; none where there is no kubeconfig. Raises ClusterConfigError."""
    if selection.kubeconfig:
        return [_expanded(selection.kubeconfig)]  # must exist: reading it says so
    named = environment.get("KUBECONFIG", "")
    parts = named.split(os.pathsep) if named else [DEFAULT]
    paths = dict.fromkeys(_expanded(part) for part in parts if part)
    return [path for path in paths if _exists(path)]


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ClusterConfigError(f"kubeconfig {text!r}: {error}; name a file with --kubeconfig FILE") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a folder closed to us, or no possible path: reading it says so
        return True


def read(path: Path) -> dict[str, Any]:
    """One file, its relative paths made absolute. Raises ClusterConfigError."""
    remedy = "name a readable kubeconfig with --kubeconfig FILE, or in KUBECONFIG"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ClusterConfigError(f"kubeconfig {path} has more than {MAX_BYTES >> 20} MiB; {remedy}")
        found = load_one(utf8(data))
    except (OSError, ValueError) as error:
        raise ClusterConfigError(f"kubeconfig {path} cannot be read ({error}); {remedy}") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ClusterConfigError(f"kubeconfig {path} is not YAML ({reason}); {remedy}") from error
    if found is None:  # an empty file is an empty kubeconfig
        return {}
    if not isinstance(found, dict):
        raise ClusterConfigError(f"kubeconfig {path} holds no settings; {remedy}")
    return {**found, **{section: _entries(found, section, path) for section in _SECTIONS}}


def _entries(found: Mapping[str, Any], section: str, path: Path) -> list[dict[str, Any]]:
    entries, inner = found.get(section) or [], _SECTIONS[section]
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get(inner) or {}, dict)
        for entry in entries
    ):
        raise ClusterConfigError(
            f"kubeconfig {path}: {section} is no list of a name and a {inner} each; "
            "check it with `kubectl config view`"
        )
    folder = path.absolute().parent
    return [{"name": entry["name"], inner: _absolute(entry.get(inner) or {}, folder)} for entry in entries]


def _absolute(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    named: dict[str, Any] = {
        key: str(folder / entry[key]) for key in _PATHS if isinstance(entry.get(key), str) and entry[key]
    }
    plugin = entry.get("exec")
    # As kubectl, a command without a folder is looked up on the PATH.
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command")):
        named["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
    return {**entry, **named}


def merged(files: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One kubeconfig of several: of each name and value, the first that is set."""
    whole: dict[str, Any] = {section: {} for section in _SECTIONS} | {"current-context": ""}
    for found in files:
        whole["current-context"] = whole["current-context"] or str(found.get("current-context") or "")
        for section, inner in _SECTIONS.items():
            for entry in found.get(section) or ():
                whole[section].setdefault(entry["name"], entry[inner])
    return whole


def selected(whole: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    """A kubeconfig of the one context that ``selection`` means. Raises ClusterConfigError."""
    name = selection.context or whole["current-context"]
    if not name and not selection.cluster:
        raise ClusterConfigError(
            "the kubeconfig has no current context, so the cluster is unknown; "
            "choose one with --context NAME or `kubectl config use-context NAME`"
        )
    context = _known(whole, "contexts", name, "--context") if name else {}
    cluster = selection.cluster or str(context.get("cluster") or "")
    user = selection.user or str(context.get("user") or "")
    known = _known(whole, "clusters", cluster, "--cluster")
    if not isinstance(known.get("server"), str):
        raise ClusterConfigError(f"the kubeconfig's cluster {cluster!r} names no server; add its server: URL")
    # As kubectl, a context may name a user that there is not; --user may not.
    credentials = _known(whole, "users", user, "--user") if selection.user else whole["users"].get(user) or {}
    return {
        "current-context": "selected",
        "contexts": [{"name": "selected", "context": {**context, "cluster": "selected", "user": "selected"}}],
        "clusters": [{"name": "selected", "cluster": known}],
        "users": [{"name": "selected", "user": credentials}],
    }


def _known(whole: Mapping[str, Any], section: str, name: str, flag: str) -> dict[str, Any]:
    entries: Mapping[str, dict[str, Any]] = whole[section]
    if name in entries:
        return entries[name]
    raise ClusterConfigError(
        f"the kubeconfig has no {_SECTIONS[section]} {name!r}; {nearest(name, list(entries))}"
        f"give one of `kubectl config get-{section}` with {flag} NAME"
    )


def _in_cluster(selection: Selection, environment: Mapping[str, str]) -> Access:
    """As kubectl in a pod: the service account, where there is no kubeconfig."""
    configuration = Configuration()
    if not (selection.context or selection.cluster or selection.user):
        try:
            config.load_incluster_config(client_configuration=configuration)
            namespace = _SERVICE_ACCOUNT.read_text().strip() or "default"
            return Access(configuration, namespace, _impersonation({}, selection))
        except (config.ConfigException, OSError):
            pass
    where = "of the files in KUBECONFIG none exists" if environment.get("KUBECONFIG") else f"there is no {DEFAULT}"
    raise ClusterConfigError(f"{where}, so the cluster is unknown; name one with --kubeconfig FILE")


def _listed(files: Iterable[Path]) -> str:
    return os.pathsep.join(map(str, files))
