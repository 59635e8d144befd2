# SPDX-License-Identifier: Apache-2.0
"""Read JSON objects that may have any shape.

Enters: objects of the API server. Leaves: values of the type that was asked for, or nothing. Pure. Guarantees:
nothing here raises, whatever the object is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]


def at(obj: object, *path: str) -> Any:
    """What stands at ``path``; None where nothing does."""
    for key in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(key)
    return obj


def text(obj: object, *path: str) -> str:
    """The string at ``path``; empty where there is none."""
    found = at(obj, *path)
    return found if isinstance(found, str) else ""


def number(obj: object, *path: str) -> int:
    """The whole number at ``path``; 0 where there is none."""
    found = at(obj, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def mapping(obj: object, *path: str) -> Mapping[str, Any]:
    """The object at ``path``; an empty one where there is none."""
    found = at(obj, *path)
    return found if isinstance(found, Mapping) else {}


def objects(obj: object, *path: str) -> list[Mapping[str, Any]]:
    """The objects in the list at ``path``."""
    found = at(obj, *path)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def texts(obj: object, *path: str) -> list[str]:
    """The strings in the list at ``path``."""
    found = at(obj, *path)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def named(obj: object) -> str:
    """Its name."""
    return text(obj, "metadata", "name")


def spaced(obj: object) -> str:
    """Its namespace."""
    return text(obj, "metadata", "namespace")


def label(obj: object, key: str) -> str:
    return text(mapping(obj, "metadata", "labels"), key)


def annotation(obj: object, key: str) -> str | None:
    """None where it is absent."""
    found = mapping(obj, "metadata", "annotations").get(key)
    return found if isinstance(found, str) else None


def moment(value: object) -> datetime | None:
    """A time as the API spells it."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def written_at(obj: object, manager: str) -> datetime | None:
    """When ``manager`` last wrote the object, by the API server's clock; None where nothing says so."""
    times = (
        moment(entry.get("time"))
        for entry in objects(obj, "metadata", "managedFields")
        if entry.get("manager") == manager
    )
    return max((time for time in times if time is not None), default=None)


def containers(pod_spec: object) -> Iterator[Mapping[str, Any]]:
    """The main containers of a pod's or template's ``spec``."""
    yield from objects(pod_spec, "containers")


def arguments(container: object) -> list[str]:
    """Command and arguments."""
    return texts(container, "command") + texts(container, "args")


def flag(container: object, name: str) -> str | None:
    """The value of ``--name``, in both spellings; None where it is not given."""
    given = arguments(container)
    found: str | None = None
    for i, argument in enumerate(given):
        if argument.startswith(f"--{name}="):
            found = argument.partition("=")[2]
        elif argument == f"--{name}":
            found = given[i + 1] if i + 1 < len(given) else ""
    return found


def variable(container: object, name: str) -> str | None:
    """The value of an environment variable; None where it is not given as a plain value."""
    for one in objects(container, "env"):
        if one.get("name") == name and isinstance(one.get("value"), str):
            return str(one["value"])
    return None


def image_version(image: str) -> str:
    """The tag of an image; empty where it has none."""
    last = image.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2]
