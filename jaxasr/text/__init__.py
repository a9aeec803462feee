"""Text processing: normalisation of transcripts, tokenizers, and n-gram language models."""

from jaxasr.text.arpa import read_arpa as read_arpa
from jaxasr.text.arpa import write_arpa as write_arpa
from jaxasr.text.byte_bpe import ByteLevelBpe as ByteLevelBpe
from jaxasr.text.kneser_ney import estimate as estimate
from jaxasr.text.markup import map_words as map_words
from jaxasr.text.markup import replace_markup as replace_markup
from jaxasr.text.ngram import NGram as NGram
from jaxasr.text.ngram import NGramScores as NGramScores
from jaxasr.text.ngram import score as score
from jaxasr.text.normalize import KINDS as KINDS
from jaxasr.text.normalize import Kind as Kind
from jaxasr.text.normalize import check_normalizer as check_normalizer
from jaxasr.text.normalize import normalize as normalize
from jaxasr.text.tokenizer import Characters as Characters
from jaxasr.text.tokenizer import SentencePiece as SentencePiece
from jaxasr.text.tokenizer import Tokenizer as Tokenizer
from jaxasr.text.tokenizer import piece_texts as piece_texts
from jaxasr.text.tokenizer import train_sentencepiece as train_sentencepiece
