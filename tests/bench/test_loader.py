"""Tests of the benchmark of the loader."""

from jaxasr.bench.loader import LoaderThroughput, bench_loader, synthetic_speech


def test_the_loader_is_measured_beside_soundfile():
    with synthetic_speech(clips=6, seconds_per_batch=40.0) as opened:
        rate_hz = opened.sources[0].rates_hz
        seconds = opened.sources[0].samples / rate_hz
        assert (rate_hz == 16_000).all()
        assert ((seconds >= 8.0) & (seconds <= 15.0)).all()
        speed = bench_loader(opened, workers=0, seconds=1.0)
    assert 0.1 < speed.loader_cpu / speed.decoding_cpu < 1.5
    assert speed.loader > 100
    assert speed.decoding > 100
    assert 0 < speed.start_s < 10


def test_the_figures_are_in_the_lines():
    lines = LoaderThroughput(2, 4500.0, 6000.0, 0.75, 3000.0, 3200.0, 2.5).lines()
    assert "4,500 audio-s/s in 2 worker processes, first batch after 2.5 s" in lines[0]
    assert "6,000 audio-s/s in as many; ratio 0.75" in lines[1]
    assert "3,000 audio-s, soundfile alone 3,200; ratio 0.94" in lines[2]
