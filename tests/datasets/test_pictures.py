"""Pictures of samples, and animations of events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neurosim.datasets import Labelled, Series, Word
from neurosim.datasets.events import EventSet, SensorEvents
from neurosim.datasets.pictures import event_frames, sample_of, sample_picture, write_gif, write_picture
from neurosim.errors import InputError, ShapeError

EVENTS = SensorEvents([0, 10, 20, 39], [0, 1, 2, 3], [0, 0, 1, 1], [1, 0, 1, 1], shape=(2, 2, 4))


def dark(pixels: np.ndarray) -> np.ndarray:
    return np.asarray((pixels < 255).any(axis=2))


def test_each_frame_holds_the_events_of_its_time() -> None:
    frames = event_frames(EVENTS, 4)
    assert len(frames) == 4 and {frame.pixels.shape for frame in frames} == {(100, 200, 3)}
    places = [dark(frame.pixels)[::50, ::50].nonzero() for frame in frames]
    assert [(rows.tolist(), columns.tolist()) for rows, columns in places] == [
        ([0], [0]),
        ([0], [1]),
        ([1], [2]),
        ([1], [3]),
    ]


def test_an_animation_has_its_frames_and_their_time(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.gif", EVENTS, frames=4)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 4 and image.size == (200, 100) and image.info["duration"] == 100
        image.seek(3)
        assert dark(np.asarray(image.convert("RGB")))[75, 175] and not dark(np.asarray(image.convert("RGB")))[25, 25]


@pytest.mark.parametrize(
    ("sample", "size"),
    [
        (EVENTS, (200, 100)),
        (SensorEvents([0, 5], [1, 2], shape=5), (400, 5)),
        (torch.eye(8)[None], (200, 200)),
        (torch.rand(50, 3), (200, 12)),
        (torch.sin(torch.arange(4000.0)), (800, 200)),
        (Word(np.sin(np.arange(300, dtype=np.float32)), 8000.0, 7, "ann", 0), (300, 200)),
    ],
)
def test_samples_of_every_kind_have_a_picture(tmp_path: Path, sample: object, size: tuple[int, int]) -> None:
    write_picture(tmp_path / "a.png", sample)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == size and dark(np.asarray(image.convert("RGB"))).any()


def test_channels_rise_and_negative_values_have_their_colour() -> None:
    x = torch.zeros(400, 200)
    x[5, 0], x[7, 199] = 1.0, -1.0
    pixels = sample_picture(x).pixels
    assert np.argwhere(dark(pixels)).tolist() == [[0, 7], [199, 5]]
    assert pixels[199, 5, 2] > pixels[199, 5, 0] and pixels[0, 7, 0] > pixels[0, 7, 2]


def test_a_wave_fills_its_height() -> None:
    pixels = dark(sample_picture(torch.tensor([1.0, -1.0] * 400)).pixels)
    assert pixels[0].any() and pixels[-1].any()


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a picture ends in \.png, and an animation"):
        write_picture(tmp_path / "a.jpg", EVENTS)
    with pytest.raises(InputError, match="an animation shows events; this sample is Tensor"):
        write_picture(tmp_path / "a.gif", torch.zeros(3, 4))
    with pytest.raises(InputError, match="Channels in one line"):
        event_frames(SensorEvents([0], [1], shape=5))
    with pytest.raises(InputError, match="1000 are allowed"):
        event_frames(EVENTS, 1001)
    with pytest.raises(ShapeError, match=r"a sample of shape \[2, 2, 2, 2\]"):
        sample_picture(torch.zeros(2, 2, 2, 2))
    with pytest.raises(ShapeError, match="with finite values"):
        sample_picture(torch.tensor([float("nan")]))
    with pytest.raises(InputError, match="pictures of one size; got 0"):
        write_gif(tmp_path / "a.gif", [])
    with pytest.raises(InputError, match="every = 0 s"):
        write_gif(tmp_path / "a.gif", event_frames(EVENTS, 2), every=0)


def test_a_sample_comes_with_its_label() -> None:
    y = torch.tensor([1, 0])
    timed = Labelled(torch.zeros(2, 5, 1, 3), y, ("a", "b"), timed=True)
    assert sample_of(timed, 0)[0].shape == (5, 3) and sample_of(timed, 0)[1] == "b"
    events = EventSet(SensorEvents([0, 1], [0, 1], shape=3, offsets=[0, 1, 2]), y, ("a", "b"))
    assert sample_of(events, 1)[0].t.tolist() == [1] and sample_of(events, 1)[1] == "a"
    series = Series((torch.zeros(3, 1),), (torch.zeros(3, 1),), ())
    assert sample_of(series, 0)[1] == ""
    words = (Word(np.zeros(3, np.float32), 8000.0, 7, "ann", 0),)
    assert sample_of(words, 0)[1] == "7"
    with pytest.raises(InputError, match="sample = 2, but there are 0 to 1"):
        sample_of(events, 2)
