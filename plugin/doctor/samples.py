# SPDX-License-Identifier: Apache-2.0
"""A page of Prometheus metrics as numbers.

Enters: text that a program served. Leaves: samples by name. Pure. What is no such page is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Samples:
    """Values by metric and labels."""

    def __init__(self, found: Mapping[str, list[tuple[Mapping[str, str], float]]]) -> None:
        self._found = found

    def of(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Labels and value of each sample of a metric."""
        return self._found.get(name, [])


def samples(text: str) -> Samples | None:
    """The page's samples; None where it is no page of metrics."""
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    try:
        for name, labels, value in _parsed(text):
            found.setdefault(name, []).append((labels, value))
    except (ValueError, KeyError, IndexError, TypeError):  # the parser promises no more than that
        return None
    return Samples(found)


def _parsed(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - a page may never come

    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, float(sample.value)
