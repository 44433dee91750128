"""The indexed PNG shows the picture it was made from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from charts.drawings import Pixels, indexed, truecolour
from mcp_server.charts.palette import decode, quantise


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Pixels, list[int]]:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    pixels = draw(arrays(np.uint8, (height, width, 4), elements=st.integers(0, 255)))
    pixels[..., 3] = 255
    return pixels, draw(st.lists(st.sampled_from([0, 1, 2]), min_size=height, max_size=height))


@given(pictures())
def test_every_filter_that_the_renderer_uses_is_read_back_exactly(picture: tuple[Pixels, list[int]]) -> None:
    pixels, filters = picture
    assert np.array_equal(decode(truecolour(pixels, filters)), pixels)


@given(pictures())
def test_a_picture_of_few_colours_is_unchanged(picture: tuple[Pixels, list[int]]) -> None:
    pixels, filters = picture
    assert np.array_equal(indexed(quantise(truecolour(pixels, filters), 128)), pixels[..., :3])


@given(pictures(), st.integers(2, 6))
def test_every_colour_used_was_in_the_picture_and_the_commonest_stays(
    picture: tuple[Pixels, list[int]], colours: int
) -> None:
    pixels, filters = picture
    pixels[0] = pixels[0, 0]
    before = {tuple(colour) for colour in pixels[..., :3].reshape(-1, 3).tolist()}
    after = indexed(quantise(truecolour(pixels, filters), colours))
    used = {tuple(colour) for colour in after.reshape(-1, 3).tolist()}
    assert used <= before
    assert len(used) <= colours
    values, counts = np.unique(pixels[..., :3].reshape(-1, 3), axis=0, return_counts=True)
    if (counts == counts.max()).sum() == 1:
        assert tuple(values[np.argmax(counts)].tolist()) in used


def test_a_gradient_stays_close_with_many_colours() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, axis=2)
    grey[..., 3] = 255
    after = indexed(quantise(truecolour(grey, [0]), 128)).astype(int)
    assert np.abs(after - grey[..., :3]).max() <= 2


def test_a_picture_written_in_an_unknown_way_is_left_as_it_is() -> None:
    odd = truecolour(np.full((2, 2, 4), 255, dtype=np.uint8), [0, 4])
    assert quantise(odd) is odd
