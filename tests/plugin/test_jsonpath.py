# SPDX-License-Identifier: Apache-2.0
"""kubectl's JSONPath templates. What they mean is held against kubectl itself in the cluster tier."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin.output.jsonpath import Template, TemplateError, compiled, values

PODS = {
    "kind": "List",
    "items": [
        {"metadata": {"name": "a", "annotations": {"x.io/y": "1"}}, "n": 3, "up": True},
        {"metadata": {"name": "b"}, "n": 5.5, "none": None},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.annotations.x\\.io/y}", "1"),
        ("{.items[0].metadata.annotations['x\\.io/y']}", "1"),
        ('{range .items[*]}{.metadata.name}={.n}{"\\n"}{end}', "a=3\nb=5.5\n"),
        ("{range .items[*]}{range .metadata}{.name}{end},{end}", "a,b,"),
        ("{.items[?(@.n>3)].metadata.name} {.items[?(@.up==true)].n}", "b 3"),
        ("{.items[*]['n','metadata.name']}", "3 5.5 a b"),
        ("{.items[0].metadata}", '{"name":"a","annotations":{"x.io/y":"1"}}'),
        ("{..name}", "a b"),
        ("{.nothing.there}", ""),
        ("as it stands", "as it stands"),
        ("{.items[5].n}", ""),
        ("{.items[1].none}", "null"),
        ("{.items[0].up}", "true"),
        ("{range .items[*]}{$.kind}{end}", "ListList"),
    ],
)
def test_a_template_makes_text(template: str, text: str) -> None:
    assert compiled(template).of(PODS) == text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{.a", "not closed"),
        ("{range .a}", "has no {end}"),
        ("{end}", "without a {range}"),
        ("{.a[}", "no index"),
        ("{.a[?@.b]}", "a filter is written as"),
        ("{.a[?(@.b==)]}", "compares paths"),
        ("{a b}", "is missing"),
        ("{.a[0}", "bracket is not closed"),
        ("{..}", "a name is missing"),
        ("{range .a .b}{end}", "closing brace"),
    ],
)
def test_what_is_no_template_says_why(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        compiled(template)


def test_a_single_path_finds_values() -> None:
    assert values(".items[*].n", PODS) == values("{.items[*].n}", PODS) == [3, 5.5]
    with pytest.raises(TemplateError, match="no single path"):
        values("{.a}{.b}", PODS)


@given(st.text(alphabet="{}[].*?()@$='\"\\ ,:-0ax<>!\n", max_size=60))
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    try:
        made = compiled(text)
    except TemplateError:
        return
    assert isinstance(made, Template)
    with contextlib.suppress(TemplateError):
        assert isinstance(made.of(PODS), str)
