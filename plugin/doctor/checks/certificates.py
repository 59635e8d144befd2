# SPDX-License-Identifier: Apache-2.0
"""Will kube-scheduler and the extender accept each other's certificates, today and in a month?

Enters: Secrets without their keys, kube-schedulers' configurations, and the extender's metrics. Leaves: findings.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Final

from plugin.doctor.checks.schedulers import Mounted, Scheduler, host, mounted, ours, running, tls
from plugin.doctor.facts import EXTENDER, Facts, Missing, of_component
from plugin.doctor.finding import Finding, Severity, package_missing
from plugin.doctor.names import Kind, name, namespace, thing
from plugin.doctor.objects import Object, at, containers, flag, spaced, text
from plugin.doctor.remedies import upgrade
from plugin.doctor.samples import samples

TOPIC: Final = "certificates"
SOON: Final = timedelta(days=30)
METRIC: Final = "traffic_footprint_extender_certificate_not_after_timestamp_seconds"


def mounted_secrets(facts: Facts) -> set[tuple[str, str]]:
    """Namespace and name of every Secret with certificates of the two."""
    wanted = set[tuple[str, str]]()
    for deployment in of_component(facts.deployments, EXTENDER):
        for one in ("tls-cert", "client-ca"):
            file = _extender_file(deployment, one)
            if file.kind == "secret":
                wanted.add((spaced(deployment) or facts.release, file.name))
    for scheduler in running(facts):
        for entry in ours(scheduler.config, facts):
            for key in ("caFile", "certFile"):
                file = scheduler.file(text(tls(entry), key))
                if file.kind == "secret":
                    wanted.add((scheduler.space, file.name))
    return wanted


def _extender_file(deployment: Object, which: str) -> Mounted:
    spec = at(deployment, "spec", "template", "spec")
    return mounted(spec, next((path for c in containers(spec) if (path := flag(c, which))), ""))


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on certificates."""
    if find_spec("cryptography") is None:  # the plugin works without
        yield package_missing(TOPIC, "cryptography", "Ends and CAs of certificates are unknown.")
        return
    yield from _absent(facts)
    yield from _ends(facts)
    yield from _each_other(facts)
    yield from _in_use(facts)


def _absent(facts: Facts) -> Iterator[Finding]:
    for where, found in facts.secrets.items():
        if isinstance(found, Missing) and found.absent:
            space, _, secret = where.partition("/")
            yield Finding(
                "secret-absent", TOPIC, Severity.ERROR,
                f"Secret {thing(secret)} does not exist.",
                "Pods that mount it do not start.",
                (f"kubectl -n {namespace(space)} get secrets", _renew(facts)),
                (thing(secret),), 1,
            )  # fmt: skip


def _renew(facts: Facts) -> str:
    return upgrade(facts, note="renews certificates.mode selfSigned")


def _ends(facts: Facts) -> Iterator[Finding]:
    from plugin.doctor import x509  # noqa: PLC0415

    for where, secret in facts.secrets.items():
        if isinstance(secret, Missing):
            continue
        for file in ("tls.crt", "ca.crt"):
            pem = pem_of(secret, file)
            if pem is None:
                continue
            try:
                found = x509.certificates(pem)
            except ValueError as error:
                yield _malformed(where, file, error, facts)
                continue
            # Of a file with several CAs, one that has ended may be the one before.
            latest = max(found, key=lambda one: one.ends) if file == "ca.crt" else min(found, key=lambda o: o.ends)
            yield from _end(latest.ends, latest.begins, where, file, facts)


def _malformed(where: str, file: str, error: ValueError, facts: Facts) -> Finding:
    space, _, secret = where.partition("/")
    return Finding(
        "certificate-malformed", TOPIC, Severity.ERROR,
        f"{file} of Secret {thing(secret)} cannot be read.", "What mounts it does not start.",
        (f"kubectl -n {namespace(space)} describe secret {thing(secret)}", _renew(facts)),
        (thing(secret),), 1, said=str(error),
    )  # fmt: skip


def _end(ends: datetime, begins: datetime, where: str, file: str, facts: Facts) -> Iterator[Finding]:
    left, secret = ends - facts.now, thing(where.partition("/")[2])
    if begins > facts.now + timedelta(seconds=60):
        yield Finding(
            "certificate-not-yet", TOPIC, Severity.ERROR,
            f"{file} of Secret {secret} is valid only from {begins:%Y-%m-%d %H:%M} UTC on.",
            "The other side refuses it until then.", (_renew(facts),), (secret,), 1,
        )  # fmt: skip
    if left <= SOON:
        over = left <= timedelta(0)
        yield Finding(
            "certificate-ends", TOPIC, Severity.ERROR if over else Severity.WARNING,
            f"{file} of Secret {secret} {'ended' if over else 'ends'} on {ends:%Y-%m-%d}, "
            f"{abs(left.days)} days {'ago' if over else 'from now'}.",
            "kube-scheduler and the extender refuse each other: pods are placed as without it."
            if over else "From then on kube-scheduler and the extender refuse each other.",
            (_renew(facts), "docs/how-to/upgrade-and-remove.md"), (secret,), 1,
        )  # fmt: skip


def pem_of(secret: Object, file: str) -> str | None:
    """The text of a Secret's file; None where it has none."""
    said = text(secret, "data", file)
    if not said:
        return None
    try:
        return base64.b64decode(said, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _each_other(facts: Facts) -> Iterator[Finding]:
    for deployment in of_component(facts.deployments, EXTENDER):
        served = _extender_file(deployment, "tls-cert")
        clients = _extender_file(deployment, "client-ca")
        space = spaced(deployment) or facts.release
        for scheduler in running(facts):
            for entry in ours(scheduler.config, facts):
                yield from _server(facts, scheduler, entry, _read(facts, space, served))
                yield from _client(facts, scheduler, entry, _read(facts, space, clients))


def _read(facts: Facts, space: str, file: Mounted) -> str | None:
    found = facts.secrets.get(f"{space}/{file.name}") if file.kind == "secret" else None
    return None if found is None or isinstance(found, Missing) else pem_of(found, file.key)


def _ca(facts: Facts, scheduler: Scheduler, entry: Object) -> tuple[str | None, str]:
    """The CAs that a kube-scheduler trusts, and where they stand."""
    if data := text(tls(entry), "caData"):
        try:
            return base64.b64decode(data, validate=True).decode(), "caData of its configuration"
        except (binascii.Error, ValueError):
            return "", "caData of its configuration"
    file = scheduler.file(text(tls(entry), "caFile"))
    return _read(facts, scheduler.space, file), f"{file.key[:60]} of Secret {thing(file.name)}"


def _server(facts: Facts, scheduler: Scheduler, entry: Object, served: str | None) -> Iterator[Finding]:
    from plugin.doctor import x509  # noqa: PLC0415

    authority, where = _ca(facts, scheduler, entry)
    if served is None:
        return
    try:
        chain = x509.certificates(served)
    except ValueError:  # _ends tells
        return
    asked = text(tls(entry), "serverName") or host(text(entry, "urlPrefix"))
    if not x509.stands_for(chain[0], asked):
        yield Finding(
            "name-mismatch", TOPIC, Severity.ERROR,
            f"kube-scheduler {thing(scheduler.name)} asks for {name(Kind.ADDRESS, asked)}, a name that the "
            "extender's certificate does not have.",
            "kube-scheduler refuses the extender: pods are placed as without it.",
            (
                upgrade(facts, f"'certificates.extraNames={{{name(Kind.ADDRESS, asked)}}}'"),
                f"its names: {', '.join(name(Kind.ADDRESS, n) for n in sorted(chain[0].names)[:8])}",
            ),
            (thing(scheduler.name),), 1,
        )  # fmt: skip
    if authority is None:
        return
    try:
        roots = x509.certificates(authority)
    except ValueError:
        roots = []
    if not x509.trusted(chain, roots):
        yield Finding(
            "ca-mismatch", TOPIC, Severity.ERROR,
            f"The CA that kube-scheduler {thing(scheduler.name)} trusts ({where}) did not sign the extender's "
            "certificate.",
            "kube-scheduler refuses the extender: pods are placed as without it.",
            (_renew(facts), f"kubectl -n {namespace(facts.release)} rollout restart deployment    "
             "# kube-scheduler reads its CA only when it starts"),
            (thing(scheduler.name),), 1,
        )  # fmt: skip


def _client(facts: Facts, scheduler: Scheduler, entry: Object, clients: str | None) -> Iterator[Finding]:
    from plugin.doctor import x509  # noqa: PLC0415

    shown = _read(facts, scheduler.space, scheduler.file(text(tls(entry), "certFile")))
    if clients is None or shown is None:
        return
    try:
        chain, roots = x509.certificates(shown), x509.certificates(clients)
    except ValueError:
        return
    if not x509.trusted(chain, roots):
        yield Finding(
            "client-ca-mismatch", TOPIC, Severity.ERROR,
            f"The CA of the extender's clients did not sign the certificate of kube-scheduler "
            f"{thing(scheduler.name)}.",
            "The extender refuses kube-scheduler: pods are placed as without it.",
            (_renew(facts),), (thing(scheduler.name),), 1,
        )  # fmt: skip


def _in_use(facts: Facts) -> Iterator[Finding]:
    """What the extender has loaded, by its own word: that counts where Secrets may not be read."""
    soonest: dict[str, datetime] = {}
    if find_spec("prometheus_client") is None:  # the topic ``extender`` tells
        return
    for page in facts.metrics.values():
        found = None if isinstance(page, Missing) else samples(page.text)
        for labels, value in found.of(METRIC) if found else ():
            try:
                ends = datetime.fromtimestamp(value, UTC)
            except (ValueError, OverflowError, OSError):
                continue
            which = labels.get("which", "")[:40]
            soonest[which] = min(soonest.get(which, ends), ends)
    for which, ends in sorted(soonest.items()):
        left = ends - facts.now
        if left <= SOON:
            over = left <= timedelta(0)
            yield Finding(
                "certificate-in-use-ends", TOPIC, Severity.ERROR if over else Severity.WARNING,
                f"The extender's {which} certificate in use {'ended' if over else 'ends'} on {ends:%Y-%m-%d}.",
                "The extender follows the files of its Secret: they were not renewed, or not brought to its pod.",
                (_renew(facts),),
            )  # fmt: skip
