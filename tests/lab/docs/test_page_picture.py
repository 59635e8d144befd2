# SPDX-License-Identifier: Apache-2.0
"""Screenshots for the documentation are small, and keep the colours that mean something."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lab.docs import page_picture

ELEPHANT = (217, 96, 26)
PICTURES = Path(__file__).parents[3] / "docs" / "pictures"


def test_a_colour_of_which_there_is_little_stays(tmp_path: Path) -> None:
    picture = Image.new("RGB", (400, 300), "white")
    for x in range(255):
        for y in range(200):
            picture.putpixel((x, y), (x, x, x))
    for x in range(6):
        picture.putpixel((300 + x, 250), ELEPHANT)
    picture.save(tmp_path / "page.png")
    page_picture.small(tmp_path / "page.png", tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as made:
        kept = made.convert("RGB").getpixel((302, 250))
    assert isinstance(kept, tuple)
    assert all(abs(a - b) < 16 for a, b in zip(kept, ELEPHANT, strict=True))


def test_a_picture_that_stays_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "page.png")
    monkeypatch.setattr(page_picture, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="take a picture of a smaller part"):
        page_picture.small(tmp_path / "page.png", tmp_path / "small.png")


def test_the_pictures_of_pages_and_terminals_are_small_and_load_nothing() -> None:
    assert (PICTURES / "live-page.png").stat().st_size <= page_picture.MOST_BYTES
    top = (PICTURES / "top.svg").read_text()
    assert len(top) <= page_picture.MOST_BYTES
    assert "elephant" in top
    assert "url(http" not in top
