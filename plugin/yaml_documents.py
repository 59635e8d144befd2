# SPDX-License-Identifier: Apache-2.0
"""YAML that others wrote, without what a few bytes could cost.

Enters: text or bytes. Leaves: documents made of plain values. Guarantees: raises YAMLError alone. An alias costs
as much as what it repeats, and ``MAX_REPEATED`` bounds that cost: nine lines of lists of lists of aliases would
mean a thousand million values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import yaml

MAX_REPEATED: Final = 100_000
"""Values of one document that aliases repeat. A kubeconfig or manifest that people write repeats some dozens."""


class _Loader(yaml.SafeLoader):
    """libyaml's would be faster, and dies of deeply nested input."""

    def compose_document(self) -> yaml.Node | None:
        document = super().compose_document()
        if document is not None:
            sizes = dict[int, int]()
            if _expanded(document, sizes) - len(sizes) > MAX_REPEATED:
                raise yaml.YAMLError(f"its aliases repeat more than {MAX_REPEATED} values")
        return document


def _expanded(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Values in ``node`` with every alias replaced by what it means. ``sizes`` remembers those of nodes, by their
    identity. A node inside itself counts there as one value."""
    if (known := sizes.get(id(node))) is not None:
        return known
    size = sizes[id(node)] = 1
    if isinstance(node, yaml.MappingNode):
        size += sum(_expanded(part, sizes) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_expanded(part, sizes) for part in node.value)
    sizes[id(node)] = size
    return size


def load_one(data: str | bytes) -> Any:
    """The only document of ``data``; None where there is none. Raises YAMLError."""
    return _guarded(lambda: yaml.load(data, _Loader))  # noqa: S506 - a SafeLoader


def load_all(data: str | bytes) -> list[Any]:
    """Every document of ``data``. Raises YAMLError."""
    return list(_guarded(lambda: list(yaml.load_all(data, _Loader))))


def _guarded(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except yaml.YAMLError:
        raise
    except ValueError as error:  # a number or a moment that there is not
        raise yaml.YAMLError(str(error)) from error
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except Exception as error:  # a tag such as !!bool before what is none raises what a lookup raises
        raise yaml.YAMLError(f"a value does not suit its tag ({type(error).__name__}: {error})") from error
