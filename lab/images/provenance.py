# SPDX-License-Identifier: Apache-2.0
"""What an image was made from, as an in-toto statement with SLSA's provenance (v1), and the check of one.

Enters: the build's inputs and results. Leaves: a JSON document that names the image, the base, the commit, the
lock files and the build context by their digests. It is not signed: who publishes images signs it.
Formats: https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError
from lab.images import inputs
from lab.images.inputs import Inputs

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD: Final = "https://traffic-footprint.io/build/buildah/v1"
"""The build's type: `buildah bud` of one target of the Dockerfile, with the external parameters as arguments."""
LOCKS: Final = ("requirements/build.txt", "requirements/runtime.txt")
CONTEXT: Final = "build-context"


def statement(
    made: Inputs,
    checkout: Path,
    *,
    base: str,
    base_digest: str,
    digest: str,
    image_id: str,
    sbom: str,
    begun: datetime,
    ended: datetime,
) -> dict[str, Any]:
    """The statement about one built image.

    ``base_digest`` is ``sha256:HEX``. The others are a hexadecimal SHA-256: ``digest`` of the image's manifest, by
    which registries know it, ``image_id`` of its configuration, which engines call its ID, and ``sbom`` of its
    bill of materials.
    """
    commit = made.revision.removesuffix("-dirty")
    sources = [{"name": "source", "digest": {"gitCommit": commit}}] if not made.unversioned else []
    return {
        "_type": STATEMENT,
        "subject": [{"name": made.name, "digest": {"sha256": digest}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {
                    "target": made.component, "VERSION": made.version, "REVISION": made.revision,
                },
                "resolvedDependencies": [
                    {"name": base, "digest": _digest(base_digest)},
                    *sources,
                    {"name": CONTEXT, "digest": {"sha256": made.files}},
                    *({"name": lock, "digest": {"sha256": inputs.sha256(checkout / lock)}} for lock in LOCKS),
                ],
            },
            "runDetails": {
                "builder": {"id": f"{BUILD}/local"},
                "metadata": {"startedOn": _time(begun), "finishedOn": _time(ended)},
                "byproducts": [
                    {"name": "sbom.cdx.json", "digest": {"sha256": sbom}},
                    {"name": "image-id", "digest": {"sha256": image_id}},
                ],
            },
        },
    }  # fmt: skip


def differences(said: Mapping[str, Any], checkout: Path) -> list[str]:
    """What of a statement this checkout does not bear out, one line each; none: the image is of these files.

    Raises LabError for what is no such statement.
    """
    try:
        if said["_type"] != STATEMENT or said["predicateType"] != PREDICATE:
            raise LabError(f"the file is no {STATEMENT} statement about {PREDICATE}; give one that a build wrote")
        definition = said["predicate"]["buildDefinition"]
        wanted = {one["name"]: one["digest"] for one in definition["resolvedDependencies"]}
        made = inputs.of(definition["externalParameters"]["target"], checkout)
        present = {CONTEXT: made.files, **{lock: inputs.sha256(checkout / lock) for lock in LOCKS}}
        return [
            f"{name}: the image was made from {wanted[name]['sha256']}, here is {found}"
            for name, found in present.items()
            if wanted[name]["sha256"] != found
        ]
    except (KeyError, TypeError) as error:
        raise LabError(f"the statement lacks {error}, so no build of this project wrote it") from error


def read(path: Path) -> Any:
    """The JSON document in ``path``. Raises LabError."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LabError(f"cannot read a statement from {path}: {error}") from error


def _digest(name: str) -> dict[str, str]:
    algorithm, _, value = name.partition(":")
    return {algorithm: value}


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
