"""Every container: a whole file is decoded to its end, a cut one and one that continues behind its end are refused."""

from collections.abc import Callable

import pytest
import soundfile

Write = Callable[..., bytes]
Refusal = Callable[[bytes], str]

CONTAINERS = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "SVX", "NIST", "HTK", "FLAC", "OGG", "MP3"]
WITHOUT_WRITER = {"MPEG_LAYER_I", "MPEG_LAYER_II", "DWVW_12"}
KINDS = [
    (format, subtype)
    for format in CONTAINERS
    for subtype in soundfile.available_subtypes(format)
    if subtype not in WITHOUT_WRITER and (format, subtype) != ("WAV", "MPEG_LAYER_III")
]
CUTS = [2, 3, 4, 8, 36, 44, 100, 1000, 1023, 1024, 1025]


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_whole_files_are_decoded_and_cut_ones_refused(write: Write, refusal: Refusal, format: str, subtype: str):
    """ADPCM and GSM fill their last block."""
    data = write(format, subtype)
    samples = int(refusal(data).removesuffix(" samples"))
    assert 24_000 <= samples < 24_000 + 1100
    cuts = [*CUTS, len(data) // 3, len(data) // 2, len(data) * 9 // 10]
    assert [cut for cut in cuts if refusal(data[:-cut]).endswith(" samples")] == []


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_what_continues_behind_its_end_is_refused(write: Write, refusal: Refusal, format: str, subtype: str):
    """Two files joined to one are refused as well, except for chained Ogg files, which are decoded."""
    data = write(format, subtype, seconds=0.3)
    whole = int(refusal(data).removesuffix(" samples"))
    for more in (b"\x33" * 64, b"RIFF" * 100, data):
        twice = format == "OGG" and more is data
        assert refusal(data + more).endswith(" samples") == twice
        assert not twice or refusal(data + more) == f"{2 * whole} samples"


@pytest.mark.parametrize("format", ["WAV", "RF64", "AIFF", "CAF", "AU", "FLAC", "OGG", "MP3"])
def test_a_tag_at_the_end_is_no_damage(write: Write, refusal: Refusal, format: str):
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(format, "PCM_16")
    assert refusal(write(format, subtype) + b"TAG".ljust(128, b"\0")) == "24000 samples"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3"])
def test_a_tag_at_the_beginning_is_no_damage(write: Write, refusal: Refusal, format: str):
    data = write(format, "MPEG_LAYER_III" if format == "MP3" else "PCM_16")
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    assert refusal(tag + data) == "24000 samples"
    assert not refusal(tag + data[:-500]).endswith(" samples")
