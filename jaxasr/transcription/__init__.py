"""Audio files and streams to text, with times and confidences of words."""

from jaxasr.transcription.calibrate import calibrate as calibrate
from jaxasr.transcription.files import bar_for as bar_for
from jaxasr.transcription.files import follow as follow
from jaxasr.transcription.files import transcribe as transcribe
from jaxasr.transcription.formats import refuse_places as refuse_places
from jaxasr.transcription.formats import write_transcripts as write_transcripts
from jaxasr.transcription.live import Delays as Delays
from jaxasr.transcription.live import stream as stream
from jaxasr.transcription.long_form import Passage as Passage
from jaxasr.transcription.long_form import Refusal as Refusal
from jaxasr.transcription.long_form import Transcript as Transcript
from jaxasr.transcription.streaming import StableWord as StableWord
from jaxasr.transcription.streaming import Streamer as Streamer
