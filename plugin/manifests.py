# SPDX-License-Identifier: Apache-2.0
"""Pods in manifests, as ``kubectl -f`` reads them.

Enters: files, folders, or standard input, with any number of YAML or JSON documents, Lists among them. Leaves: the
pods in them, and the pods that their workloads would make. Objects that make no pods are passed over. Raises
ManifestError alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from footprint.text import utf8
from plugin.yaml_documents import load_all

STDIN: Final = "-"
SUFFIXES: Final = (".json", ".yaml", ".yml")
"""Files that are read of a folder."""
MAX_BYTES: Final = 64 * 2**20
"""Of one file."""
MAX_DEPTH: Final = 16
"""Lists in Lists."""
_WORKLOADS: Final = frozenset(
    {"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}
)

Json = dict[str, Any]


class ManifestError(Exception):
    """No pod can be read; the message names the remedy."""


def pods_of(sources: Iterable[str], namespace: str) -> list[Json]:
    """The pods in ``sources``; ``namespace`` is that of objects that name none. Raises ManifestError."""
    found, others = list[Json](), list[str]()
    names = list(sources)
    for source in names:
        for obj in _objects(source):
            pod = pod_of(obj, namespace)
            if pod is None:
                others.append(_called(obj))
            else:
                found.append(pod)
    if found:
        return found
    held = f"only {', '.join(others[:5])}" if others else "no Kubernetes object with a spec"
    raise ManifestError(
        f"{', '.join(names)} holds no pod and no workload with a pod template, but {held}; "
        "name a manifest of a Pod or a Deployment"
    )


def _called(obj: Json) -> str:
    return f"{obj.get('kind') or 'an object without kind'} {_part(obj, 'metadata').get('name') or ''}".strip()


def _part(obj: Json, key: str) -> Json:
    """The mapping at ``key``; an empty one where there is none."""
    found = obj.get(key)
    return found if isinstance(found, dict) else {}


def pod_of(obj: Json, namespace: str) -> Json | None:
    """The pod that ``obj`` is or would make; None when it makes none. Raises ManifestError for half a workload."""
    spec, kind = obj.get("spec"), obj.get("kind")
    if not isinstance(spec, dict):
        return None
    template = _template(spec)
    if kind == "Pod" or (kind is None and template is None):
        return _placed(obj, namespace)
    if template is None or not (kind in _WORKLOADS or isinstance(template.get("spec"), dict)):
        if kind in _WORKLOADS:
            raise ManifestError(
                f"{_called(obj)} has no spec.template, so it makes no pods; name a manifest of a whole workload"
            )
        return None
    metadata = _part(obj, "metadata")
    name = str(metadata.get("name") or "pod")
    owner = {"kind": kind, "name": name, "controller": True}
    made = {**_part(template, "metadata"), "name": name, "ownerReferences": [owner]}
    pod = {"metadata": made, "spec": _part(template, "spec")}
    return _placed(pod, str(metadata.get("namespace") or namespace))


def _template(spec: Json) -> Json | None:
    """What a controller makes pods of."""
    job = spec.get("jobTemplate")
    template = (_part(job, "spec") if isinstance(job, dict) else spec).get("template")
    return template if isinstance(template, dict) else None


def _placed(pod: Json, namespace: str) -> Json:
    metadata = _part(pod, "metadata")
    return {**pod, "metadata": {**metadata, "namespace": metadata.get("namespace") or namespace}}


def _objects(source: str) -> Iterator[Json]:
    for name, data in _files(source):
        try:
            documents = list(_documents(utf8(data).decode()))
            yield from (obj for document in documents for obj in _flat(document))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise ManifestError(f"{name} cannot be read: {reason}; name a manifest in YAML or JSON") from error


def _files(source: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents."""
    try:
        if source == STDIN:
            yield "standard input", _limited(sys.stdin.buffer.read(MAX_BYTES + 1))
            return
        path = Path(source)
        inside = path.is_dir() and sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        for file in [path] if inside is False else inside:
            with file.open("rb") as opened:
                yield str(file), _limited(opened.read(MAX_BYTES + 1))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{source} cannot be read: {error}; name a manifest with -f FILE, or -f -") from error


def _limited(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
    return data


def _documents(text: str) -> Iterator[Any]:
    """The documents of a stream. As kubectl, what begins with a brace is JSON. Raises ValueError and YAMLError."""
    if not text.lstrip().startswith("{"):
        yield from load_all(text)
        return
    try:
        documents, decoder, at = list[Any](), json.JSONDecoder(), 0
        while at < len(text) and (rest := text[at:].lstrip()):
            at = len(text) - len(rest)
            document, at = decoder.raw_decode(text, at)
            documents.append(document)
    except ValueError:  # YAML may begin with a brace too
        documents = load_all(text)
    yield from documents


def _flat(document: Any, depth: int = 0) -> Iterator[Json]:
    """The objects of a document: itself, or those of a List."""
    if not isinstance(document, dict):
        return  # an empty document, as after a separator at the end
    items, kind = document.get("items"), str(document.get("kind") or "")
    if not (isinstance(items, list) and kind.endswith("List")):
        yield document
        return
    if depth >= MAX_DEPTH:
        raise ValueError(f"Lists are nested more than {MAX_DEPTH} deep")
    alone = kind.removesuffix("List")
    for item in items:
        # A List of one kind leaves the items' kind out.
        named = {"kind": alone, **item} if alone and isinstance(item, dict) else item
        yield from _flat(named, depth + 1)
