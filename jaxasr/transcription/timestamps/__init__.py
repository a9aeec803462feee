"""Transcription by the decoder's own timestamps, as in Whisper: windows that seek, and another try at higher temperatures."""
