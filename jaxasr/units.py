"""The exact conversion of times to numbers of samples. A window that is not a whole number of samples raises an error."""


def samples_from_ms(ms: float, rate_hz: int) -> int:
    """Returns the number of samples in `ms` at `rate_hz`.

    Raises:
        ValueError: the result is not a whole number; 3.9 ms at 16000 Hz is 62.4 samples.
    """
    samples = ms * rate_hz / 1000
    if abs(samples - round(samples)) > 1e-6:
        raise ValueError(
            f"{ms:g} ms at {rate_hz} Hz is {samples:g} samples; a whole number is needed: "
            f"{round(samples) * 1000 / rate_hz:g} ms is {round(samples)}"
        )
    return round(samples)
