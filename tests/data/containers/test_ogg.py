"""Ogg files: pages that are damaged, missing or the last, and chains of several links."""

from collections.abc import Callable

import pytest

from jaxasr.data.audio import decode_native, header_duration_s, stream_audio

Write = Callable[..., bytes]
Refusal = Callable[[bytes], str]
CODINGS = ["VORBIS", "OPUS"]


def pages(data: bytes) -> list[bytes]:
    """Returns the pages of a file."""
    places = [place for place in range(len(data)) if data.startswith(b"OggS", place)]
    return [data[begin:end] for begin, end in zip(places, [*places[1:], len(data)], strict=True)]


@pytest.mark.parametrize("coding", CODINGS)
def test_a_file_without_its_last_pages_is_refused(write: Write, refusal: Refusal, coding: str):
    """Each page is whole, and libsndfile decodes the rest without an error."""
    whole = pages(write("OGG", coding, seconds=1.5))
    assert len(whole) >= 4
    for kept in range(1, len(whole)):
        assert "its last page is missing" in refusal(b"".join(whole[:kept]))


@pytest.mark.parametrize("coding", CODINGS)
def test_a_file_without_a_page_is_refused(write: Write, refusal: Refusal, coding: str):
    whole = pages(write("OGG", coding))
    for missing in range(1, len(whole) - 1):
        assert "a page is missing before page" in refusal(b"".join(whole[:missing] + whole[missing + 1 :]))


@pytest.mark.parametrize("coding", CODINGS)
def test_every_bit_is_in_a_checksum(write: Write, refusal: Refusal, coding: str):
    data = write("OGG", coding, seconds=0.2)
    for place in range(0, len(data), 41):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        assert not refusal(bytes(flipped)).endswith(" samples"), place


@pytest.mark.parametrize("coding", CODINGS)
def test_all_links_of_a_chain_are_decoded(write: Write, refusal: Refusal, tmp_path, coding: str):
    """libsndfile decodes the first link alone."""
    long, short = write("OGG", coding), write("OGG", coding, seconds=0.5)
    chain = long + short + long
    assert refusal(chain) == "56000 samples"
    assert len(decode_native(chain, id="x")[0]) == 56_000
    (tmp_path / "x.ogg").write_bytes(chain)
    assert sum(map(len, stream_audio(tmp_path / "x.ogg"))) == 56_000
    assert header_duration_s(tmp_path / "x.ogg") == 3.5
    assert "its last page is missing" in refusal(b"".join(pages(chain)[:-1]))
    assert "a stream begins before the last has ended" in refusal(b"".join(pages(long)[:-1]) + short)


@pytest.mark.parametrize(("changes"), [{"rate_hz": 8_000}, {"channels": 2}])
def test_links_of_other_forms_are_not_joined(write: Write, refusal: Refusal, changes: dict[str, int]):
    assert "its parts differ in Hz, channels" in refusal(write("OGG", "OPUS") + write("OGG", "OPUS", **changes))
