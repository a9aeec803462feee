"""From corpora to batches; knows no model and no device."""

from jaxasr.data.audio import decode_audio as decode_audio
from jaxasr.data.audio import samples_at as samples_at
from jaxasr.data.prepared import Corpus as Corpus
from jaxasr.data.prepared import Prepared as Prepared
from jaxasr.data.prepared import example_key as example_key
