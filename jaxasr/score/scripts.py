"""Scripts without spaces between words: the units of the mixed error rate, and the tokenizer of BLEU and ROUGE."""

import re
import unicodedata
from collections.abc import Iterable

SPACED = "13a"  # sacrebleu's tokenizer of scripts with spaces
SHARE = 0.1  # share of a set's letters from which its script counts as one without spaces

_HAN = (
    r"\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
_KANA = r"\u3031-\u3035\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001b000-\U0001b16f"
_OTHERS = r"\u0e01-\u0e3a\u0e40-\u0e5b\u0e80-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3100-\u312f"
_HAN_LETTER = re.compile(f"[{_HAN}]")
_UNSPACED_LETTER = re.compile(f"[{_HAN}{_KANA}{_OTHERS}]")


def mixed_units(text: str) -> str:
    """Returns the text with spaces around every letter of a script without spaces; its words are the units of MER.

    Such scripts are Chinese, Japanese kana, Bopomofo, Thai, Lao, Khmer, Myanmar and Tibetan. A combining mark stays with the
    letter before it.

    Example: "打开 wifi 吧" has the units 打, 开, wifi, 吧.
    """
    pieces: list[str] = []
    for letter in text:
        if unicodedata.category(letter).startswith("M") and pieces:
            if pieces[-1].endswith(" "):
                pieces[-1] = f"{pieces[-1][:-1]}{letter} "
            else:
                pieces.append(letter)
        else:
            pieces.append(f" {letter} " if _UNSPACED_LETTER.match(letter) else letter)
    return " ".join("".join(pieces).split())


def tokenizer_of_script(texts: Iterable[str]) -> str:
    """Returns sacrebleu's tokenizer: "zh" for Chinese, "char" for other scripts without spaces, "13a" for all others.

    sacrebleu's own tokenizers of Japanese and Thai words need dictionaries; single characters need none.
    """
    text = "".join(texts)
    unspaced = len(_UNSPACED_LETTER.findall(text))
    if unspaced <= SHARE * sum(letter.isalpha() for letter in text):
        return SPACED
    return "zh" if len(_HAN_LETTER.findall(text)) > 0.9 * unspaced else "char"
