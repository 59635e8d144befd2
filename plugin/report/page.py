# SPDX-License-Identifier: Apache-2.0
"""The report's page.

Enters: facts, their diagnosis, and aliases or none. Leaves: one HTML document. Pure. Guarantees: every value is
escaped, and characters that a reader would act on are spelled out. The page asks for nothing: its
Content-Security-Policy allows its own style sheet, by its hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from footprint.text import visible
from plugin.doctor.facts import Facts
from plugin.doctor.finding import Diagnosis, Severity, listed, of
from plugin.doctor.names import NO_ALIASES, Aliases, namespace, told
from plugin.report.rows import tables


@cache
def _style() -> str:
    return _file("page.css")


def _file(name: str) -> str:
    return files("plugin.report").joinpath(name).read_text(encoding="utf-8")


def policy() -> str:
    """The page's Content-Security-Policy."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _shown(value: object) -> Markup:
    """Text as HTML."""
    return escape(visible(str(value)))


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_escaped
    )
    return environment.from_string(_file("page.html.j2"))


def _escaped(value: object) -> object:
    return value if isinstance(value, Markup) else _shown(value)


def page(facts: Facts, diagnosis: Diagnosis, aliases: Aliases = NO_ALIASES) -> str:
    """The document."""
    counts = [
        (severity.value, of(diagnosis.count(severity), severity.value))
        for severity in reversed(Severity)
        if diagnosis.count(severity)
    ]
    return _template().render(
        style=Markup(_style()),  # noqa: S704 - our own file
        policy=policy(),
        anonymous=aliases is not None,
        release=told(namespace(facts.release), aliases),
        at=diagnosis.at,
        counts=counts,
        looked_at=diagnosis.looked_at,
        findings=[one.as_json(aliases) for one in diagnosis.findings],
        tables=tables(facts),
        aliases=aliases,
        listed=listed,
    )
