# SPDX-License-Identifier: Apache-2.0
"""Manifests as ``kubectl -f`` reads them: streams, Lists, folders, standard input, and several encodings."""

from __future__ import annotations

import codecs
import io
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plugin.manifests import ManifestError, pods_of

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "größe", "namespace": "shop"},
    "spec": {"template": TEMPLATE},
}  # fmt: skip
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
SEALED = {"kind": "SealedSecret", "metadata": {"name": "s"}, "spec": {"template": {"metadata": {"name": "s"}}}}
ROLLOUT = {"kind": "Rollout", "metadata": {"name": "canary"}, "spec": {"template": TEMPLATE}}


def listed(*items: Any, kind: str = "List") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "items": list(items)}


def laughs(body: str, levels: int = 12) -> str:
    """Lists of lists, each of aliases of the one before."""
    lines = ["kind: List", "items:", "- &a0 {kind: Pod, metadata: {name: p}, spec: {}}"]
    lines += [f"- &a{level} {{kind: List, {body.format(level - 1)}}}" for level in range(1, levels)]
    return "\n".join(lines)


def stream(*documents: Any) -> str:
    return "---\n".join(yaml.safe_dump(document, allow_unicode=True) for document in documents)


def names(*sources: str | Path) -> list[str]:
    return [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods_of(map(str, sources), "ns")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (stream(POD), ["ns/p"]),
        (stream(DEPLOYMENT), ["shop/größe"]),
        (stream(POD) + "---\n", ["ns/p"]),
        ("---\n" + stream(POD) + "---\n---\n# nothing\n", ["ns/p"]),
        (stream(SERVICE, DEPLOYMENT, CONFIG), ["shop/größe"]),
        (stream(DEPLOYMENT, POD), ["shop/größe", "ns/p"]),
        (stream(listed(SERVICE, DEPLOYMENT, POD)), ["shop/größe", "ns/p"]),
        (stream(listed(listed(POD)), DEPLOYMENT), ["ns/p", "shop/größe"]),
        (stream(listed({"metadata": {"name": "a"}, "spec": {}}, kind="PodList")), ["ns/a"]),
        (stream(listed({"metadata": {"name": "d"}, "spec": DEPLOYMENT["spec"]}, kind="DeploymentList")), ["ns/d"]),
        (stream(SEALED, ROLLOUT), ["ns/canary"]),  # not every template is a pod's
        (json.dumps(POD), ["ns/p"]),
        (json.dumps(listed(POD, DEPLOYMENT), indent="\t"), ["ns/p", "shop/größe"]),  # tabs are no YAML
        (json.dumps(POD) + "\n" + json.dumps(DEPLOYMENT), ["ns/p", "shop/größe"]),
        ("{kind: Pod, metadata: {name: p}, spec: {}}", ["ns/p"]),
    ],
)  # fmt: skip
def test_every_pod_of_a_manifest_is_found(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    assert names(path) == expected


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
    ids=["UTF-8", "UTF-16 LE", "UTF-16 BE"],
)  # fmt: skip
@pytest.mark.parametrize(
    "text", [stream(POD, DEPLOYMENT), json.dumps(listed(POD, DEPLOYMENT))], ids=["YAML", "JSON"]
)
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, text: str, mark: bytes, encoding: str) -> None:
    path = tmp_path / "m"
    path.write_bytes(mark + text.replace("\n", "\r\n").encode(encoding))
    assert names(path) == ["ns/p", "shop/größe"]


def test_standard_input_files_and_folders_are_read_in_the_order_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, pod in (("b.yml", "b"), ("a.json", "a"), ("c.txt", "no manifest by its name")):
        (tmp_path / name).write_text(json.dumps({**POD, "metadata": {"name": pod}}))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(codecs.BOM_UTF8 + stream(POD).encode())))
    assert names(tmp_path / "b.yml", "-", tmp_path) == ["ns/b", "ns/p", "ns/a", "ns/b"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no pod and no workload"),
        ("---\n---\n", "no pod and no workload"),
        (stream(SERVICE, CONFIG), "only Service web, ConfigMap c"),
        ("- a", "no pod and no workload"),
        ("kind: Deployment\nmetadata: {name: d}\nspec: {}", "Deployment d has no spec.template"),
        ("{", "cannot be read"),
        ("a: [", "cannot be read"),
        ("\x00", "cannot be read"),
        ("a: &a [*a]\nkind: Pod", "no pod and no workload"),
        ("[" * 100_000, "cannot be read"),
        ("{kind: List, items: [" * 40 + "]}" * 40, "deep"),
    ],
)
def test_a_manifest_without_a_pod_says_what_it_holds(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=told) as refused:
        names(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (laughs("items: [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]"), "aliases repeat"),
        (laughs("<<: [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]"), "aliases repeat"),
        ("&a {kind: List, items: [*a, *a]}", "16 deep"),
        ("[" * 100_000, "nested too deeply"),
        ("kind: Pod\nspec: {a: !!bool x}", "does not suit its tag"),
        ("kind: Pod\nspec: {a: !!int ''}", "does not suit its tag"),
        ("kind: Pod\nspec: {a: !!timestamp x}", "does not suit its tag"),
    ],
    ids=["lists of lists", "merges of merges", "itself", "deep", "bool", "int", "timestamp"],
)
def test_hostile_yaml_is_one_error_at_once(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=told) as refused:
        names(path)
    assert "\n" not in str(refused.value)


def test_aliases_as_people_write_them_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "aliases.yaml"
    path.write_text(
        "kind: Pod\nmetadata: &m {name: p}\nspec: &s {}\n---\n"
        "kind: List\nitems:\n- &p {kind: Pod, metadata: &q {name: x}, spec: {}}\n"
        "- {<<: *p, metadata: {<<: *q, name: y}}\n"
    )
    assert names(path) == ["ns/p", "ns/x", "ns/y"]


@pytest.mark.parametrize("source", ["/nonexistent.yaml", "\x00"])
def test_a_file_that_cannot_be_read_is_named_with_the_remedy(source: str) -> None:
    with pytest.raises(ManifestError, match="-f FILE, or -f -"):
        names(source)


KEYS = ("kind", "items", "spec", "template", "jobTemplate", "metadata", "name")
shapes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
objects = st.fixed_dictionaries(
    {"spec": shapes, "metadata": shapes, "kind": st.sampled_from(["Pod", "Job", "CronJob", "List", None])}
)


@given(st.lists(objects | shapes, max_size=3))
def test_any_objects_are_pods_or_one_error(tmp_path_factory: pytest.TempPathFactory, documents: list[Any]) -> None:
    path = tmp_path_factory.mktemp("m") / "m.json"
    path.write_text("\n".join(map(json.dumps, documents)))
    with suppress(ManifestError):
        assert all(isinstance(pod, dict) for pod in pods_of([str(path)], "ns"))
