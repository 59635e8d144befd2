# SPDX-License-Identifier: Apache-2.0
"""Which files, cluster, credentials and namespace kubectl would use: real files, read as kubectl reads them."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest
import yaml

from footprint.cluster.client import ClusterConfigError
from plugin.kubeconfig import Selection, load


def write(folder: Path, name: str, *, current: str = "", port: int | None = None, extra: str = "") -> Path:
    """A kubeconfig with a cluster, a user and a context of ``name``, whose server has ``port``."""
    path = folder / name
    text = f"current-context: {current}\n" if current else ""
    if port is not None:
        text += (
            f'clusters: [{{name: {name}, cluster: {{server: "http://127.0.0.1:{port}"}}}}]\n'
            f"users: [{{name: {name}, user: {{token: t-{name}}}}}]\n"
            f"contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}{extra}}}}}]\n"
        )
    path.write_text(text)
    return path


def reached(selection: Selection | None = None, **environment: str) -> tuple[str, str, str]:
    """Host, token and namespace."""
    access = load(selection or Selection(), environment)
    found = access.configuration
    token = str(found.api_key.get("BearerToken", "")).removeprefix("Bearer ")
    return (found.host.rpartition(":")[2], token, access.namespace)


def several(*paths: Path | str) -> str:
    return os.pathsep.join(map(str, paths))


def test_a_context_may_be_chosen_in_one_file_and_defined_in_another(tmp_path: Path) -> None:
    a, b = write(tmp_path, "a", current="b", port=1), write(tmp_path, "b", port=2)
    assert reached(KUBECONFIG=several(a, b)) == ("2", "t-b", "default")


def test_the_first_file_that_sets_a_value_wins(tmp_path: Path) -> None:
    a, b = write(tmp_path, "a", current="a", port=1), write(tmp_path, "b", current="b", port=2)
    assert reached(KUBECONFIG=several(a, b))[0] == "1"
    assert reached(KUBECONFIG=several(b, a))[0] == "2"
    other = tmp_path / "other"
    other.mkdir()
    same = write(other, "a", current="a", port=3)  # the same names again
    assert reached(KUBECONFIG=several(a, same))[0] == "1"
    assert reached(KUBECONFIG=several(same, a))[0] == "3"


@pytest.mark.parametrize("content", ["", "current-context: ''\n", "clusters: null\nusers:\n", "---\n"])
def test_a_file_that_sets_nothing_is_passed_over(tmp_path: Path, content: str) -> None:
    nothing, a = tmp_path / "nothing", write(tmp_path, "a", current="a", port=1)
    nothing.write_text(content)
    assert reached(KUBECONFIG=several(nothing, a))[0] == "1"


def test_empty_parts_and_missing_files_are_passed_over(tmp_path: Path) -> None:
    a = write(tmp_path, "a", current="a", port=1)
    assert reached(KUBECONFIG=several("", a))[0] == "1"
    assert reached(KUBECONFIG=several(a, ""))[0] == "1"
    assert reached(KUBECONFIG=several("", tmp_path / "none", "", a))[0] == "1"


@pytest.mark.parametrize("environment", [{}, {"KUBECONFIG": ""}], ids=["unset", "empty"])
def test_without_the_variable_the_file_in_the_home_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    write(tmp_path, "a", current="a", port=7).rename(tmp_path / ".kube" / "config")
    assert reached(None, **environment)[0] == "7"


def test_the_flag_wins_over_the_variable_and_is_no_list(tmp_path: Path) -> None:
    a, b = write(tmp_path, "a", current="a", port=1), write(tmp_path, "b", current="b", port=2)
    assert reached(Selection(kubeconfig=str(b)), KUBECONFIG=str(a))[0] == "2"
    with pytest.raises(ClusterConfigError, match="cannot be read"):
        reached(Selection(kubeconfig=several(a, b)))


def test_context_cluster_and_user_are_chosen_by_flag(tmp_path: Path) -> None:
    a = write(tmp_path, "a", current="a", port=1, extra=", namespace: shop")
    b = write(tmp_path, "b", port=2, extra=", namespace: web")
    both = several(a, b)
    assert reached(KUBECONFIG=both) == ("1", "t-a", "shop")
    assert reached(Selection(context="b"), KUBECONFIG=both) == ("2", "t-b", "web")
    assert reached(Selection(cluster="b"), KUBECONFIG=both) == ("2", "t-a", "shop")
    assert reached(Selection(user="b"), KUBECONFIG=both) == ("1", "t-b", "shop")


def test_a_cluster_alone_needs_no_context(tmp_path: Path) -> None:
    a = write(tmp_path, "a", port=1)
    assert reached(Selection(cluster="a"), KUBECONFIG=str(a)) == ("1", "", "default")


def test_relative_files_start_where_their_kubeconfig_is(tmp_path: Path) -> None:
    """The user's and the cluster's may be in different folders."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (one / "config").write_text(yaml.safe_dump({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority": "ca.crt"}}],
    }))  # fmt: skip
    (two / "config").write_text(yaml.safe_dump({
        "users": [{"name": "u", "user": {"client-certificate": "u.crt", "client-key": "../two/u.key"}}],
    }))  # fmt: skip
    for file in (one / "ca.crt", two / "u.crt", two / "u.key"):
        file.write_text("PEM")
    found = load(Selection(), {"KUBECONFIG": several(one / "config", two / "config")}).configuration
    named = [Path(str(file)).resolve() for file in (found.ssl_ca_cert, found.cert_file, found.key_file)]
    assert named == [one / "ca.crt", two / "u.crt", two / "u.key"]


def test_a_credential_plugin_beside_the_kubeconfig_is_run(tmp_path: Path) -> None:
    program = tmp_path / "login"
    program.write_text(
        '#!/bin/sh\nprintf \'{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",'
        '"status":{"token":"of-%s"}}\' "$WHO"\n'
    )
    program.chmod(0o755)
    path = write(tmp_path, "a", current="a", port=1)
    found = yaml.safe_load(path.read_text())
    found["users"][0]["user"] = {"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "interactiveMode": "Never",
        "env": [{"name": "WHO", "value": "me"}],
    }}  # fmt: skip
    path.write_text(yaml.safe_dump(found))
    assert reached(KUBECONFIG=str(path))[1] == "of-me"


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")], ids=["UTF-8", "UTF-16"]
)
def test_a_kubeconfig_that_powershell_wrote_is_read(tmp_path: Path, mark: bytes, encoding: str) -> None:
    path = write(tmp_path, "a", current="a", port=1)
    path.write_bytes(mark + path.read_text().encode(encoding))
    assert reached(KUBECONFIG=str(path))[0] == "1"


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        (Selection(context="aa"), r"no context 'aa'; did you mean a\? .*--context NAME"),
        (Selection(cluster="zz"), r"no cluster 'zz'.*--cluster NAME"),
        (Selection(user="zz"), r"no user 'zz'.*--user NAME"),
        (Selection(kubeconfig="/none/config"), r"/none/config cannot be read.*--kubeconfig FILE"),
        (Selection(kubeconfig="~no-such-user-here/config"), "--kubeconfig FILE"),
        (Selection(kubeconfig="/"), "--kubeconfig FILE"),
    ],
)
def test_what_there_is_not_is_named_with_the_remedy(tmp_path: Path, selection: Selection, told: str) -> None:
    a = write(tmp_path, "a", current="a", port=1)
    with pytest.raises(ClusterConfigError, match=told) as refused:
        reached(selection, KUBECONFIG=str(a))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        "- a", "{", "\x00\x01", "[" * 100_000, "clusters: !!bool x", "clusters: &a [*a]",
        "a0: &a0 {k: v}\n" + "\n".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1},' * 9}]}}" for n in range(1, 12)),
        "clusters: 1", "clusters: [a]", "users: [{name: 1}]",
        "contexts: [{name: c, context: 1}]",
        "current-context: c", "current-context: c\ncontexts: [{name: c}]",
        "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\nclusters: [{name: c}]",
        "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: 'a'}}]",
    ],
)  # fmt: skip
def test_a_kubeconfig_that_cannot_be_used_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ClusterConfigError) as refused:
        reached(KUBECONFIG=str(path))
    assert "\n" not in str(refused.value)


def test_nowhere_a_kubeconfig_and_no_pod_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterConfigError, match=r"there is no ~/.kube/config.*--kubeconfig FILE"):
        reached()
    with pytest.raises(ClusterConfigError, match=r"in KUBECONFIG none exists"):
        reached(KUBECONFIG=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("user", "flags", "headers"),
    [
        ("", Selection(), {}),
        ("as: ann", Selection(), {"Impersonate-User": "ann"}),
        ("as: ann, as-groups: [g], as-uid: u", Selection(),
         {"Impersonate-User": "ann", "Impersonate-Group": "g", "Impersonate-Uid": "u"}),
        ("as: ann, as-uid: u", Selection(impersonate="bob"), {"Impersonate-User": "bob"}),
        ("", Selection(impersonate="bob", impersonate_group="g"),
         {"Impersonate-User": "bob", "Impersonate-Group": "g"}),
        ("as: ann, as-groups: [g, h]", Selection(impersonate_group="i"),
         {"Impersonate-User": "ann", "Impersonate-Group": "i"}),
    ],
)  # fmt: skip
def test_one_acts_as_whom_the_flags_or_the_file_say(
    tmp_path: Path, user: str, flags: Selection, headers: dict[str, str]
) -> None:
    assert dict(load(flags, {"KUBECONFIG": str(acting(tmp_path, user))}).headers) == headers


@pytest.mark.parametrize(
    ("user", "flags", "reason"),
    [
        ("as: ann, as-groups: [g, h]", Selection(), "needs several groups"),
        ("", Selection(impersonate_group="g"), "add --as USER"),
        ("as-uid: u", Selection(), "add --as USER"),
        ("as: ann, as-user-extra: {reason: [x]}", Selection(), "cannot be sent"),
    ],
)
def test_whom_one_cannot_act_as_exactly_is_refused(
    tmp_path: Path, user: str, flags: Selection, reason: str
) -> None:
    with pytest.raises(ClusterConfigError, match=reason):
        load(flags, {"KUBECONFIG": str(acting(tmp_path, user))})


def acting(folder: Path, user: str) -> Path:
    """A kubeconfig whose user acts as another one."""
    path = folder / "acting"
    path.write_text(
        'current-context: c\nclusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]\n'
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        f"users: [{{name: u, user: {{token: t, {user}}}}}]\n"
    )
    return path


@pytest.mark.parametrize(
    ("script", "reason"), [("exit 3", "returned 3"), ("echo nonsense", "decode"), (None, "No such file")]
)
def test_an_exec_plugin_that_fails_is_no_anonymous_request(
    tmp_path: Path, script: str | None, reason: str
) -> None:
    if script is not None:
        (tmp_path / "login").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "login").chmod(0o755)
    path = acting(tmp_path, "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login}")
    path.write_text(path.read_text().replace("token: t, ", ""))
    with pytest.raises(ClusterConfigError, match=reason):
        load(Selection(), {"KUBECONFIG": str(path)})
