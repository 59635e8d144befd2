# SPDX-License-Identifier: Apache-2.0
"""An image's bill of materials: every package of the distribution and of Python, as CycloneDX 1.6.

Enters: the root of an unpacked image, its name and version. Leaves: the document as JSON text. Guarantees: the
same file system gives the same components in the same order. Reads files; runs nothing of the image.
"""

from __future__ import annotations

from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from lab.images.contents import Part

DISTRIBUTION: Final = "debian-12"
"""As package URLs name it."""


def document(name: str, version: str, debian: list[Part], python: list[Part]) -> str:
    """The bill of materials of the image ``name:version``, which holds these packages."""
    parts = [*map(_debian, debian), *map(_python, python)]
    image = Component(type=ComponentType.CONTAINER, name=name, version=version, bom_ref=f"{name}:{version}")
    bom = Bom(components=parts)
    bom.metadata.component = image
    bom.register_dependency(image, parts)
    return f"{JsonV1Dot6(bom).output_as_string(indent=1)}\n"


def _debian(part: Part) -> Component:
    where = {"arch": part.architecture, "distro": DISTRIBUTION}
    return _component(part, PackageURL("deb", "debian", part.name, part.version, where))


def _python(part: Part) -> Component:
    return _component(part, PackageURL("pypi", None, part.name, part.version))


def _component(part: Part, purl: PackageURL) -> Component:
    licences = [LicenseFactory().make_from_string(part.licence)] if part.licence else []
    return Component(
        type=ComponentType.LIBRARY, name=part.name, version=part.version, purl=purl, bom_ref=str(purl),
        licenses=licences,
    )  # fmt: skip
