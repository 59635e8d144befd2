# SPDX-License-Identifier: Apache-2.0
"""Built images for the tests that look inside: never skipped, the remedy where they cannot be built."""

from __future__ import annotations

import pytest

from lab.errors import LabError
from lab.images import images, inputs
from lab.images.images import Image


@pytest.fixture(scope="session", params=inputs.COMPONENTS)
def built(request: pytest.FixtureRequest) -> Image:
    """Each image in turn."""
    try:
        return images.image(request.param)
    except LabError as error:
        pytest.fail(f"the image was not built: {error}", pytrace=False)
