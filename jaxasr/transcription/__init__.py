"""Transcription of audio files and streams, with times and confidences of words."""

from jaxasr.transcription.calibrate import calibrate as calibrate
from jaxasr.transcription.cues import CueLimits as CueLimits
from jaxasr.transcription.files import iter_transcripts as iter_transcripts
from jaxasr.transcription.files import progress_bar as progress_bar
from jaxasr.transcription.files import transcribe as transcribe
from jaxasr.transcription.live import LatencyStats as LatencyStats
from jaxasr.transcription.live import stream as stream
from jaxasr.transcription.loading import FileTranscriber as FileTranscriber
from jaxasr.transcription.loading import load_transcriber as load_transcriber
from jaxasr.transcription.long_form import PartialTranscript as PartialTranscript
from jaxasr.transcription.long_form import Transcript as Transcript
from jaxasr.transcription.long_form import TranscriptionError as TranscriptionError
from jaxasr.transcription.streaming import FinalWord as FinalWord
from jaxasr.transcription.streaming import Streamer as Streamer
from jaxasr.transcription.timestamps.fallback import Fallback as Fallback
from jaxasr.transcription.writing import check_output_paths as check_output_paths
from jaxasr.transcription.writing import write_transcripts as write_transcripts
