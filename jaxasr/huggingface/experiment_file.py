"""The experiment file of an imported Whisper: the text that `jaxasr import` writes beside the checkpoint.

The file is an experiment like any other, with literal numbers, so its reader sees and can change all of it.
"""

import json
import re
from dataclasses import dataclass

from jaxasr.huggingface.whisper_config import WhisperConfig
from jaxasr.text import KINDS, ByteLevelBpe

TOKENIZER = "tokenizer.json"
_BATCH = 8  # utterances

_TEMPLATE = '''r"""{title}, imported by `jaxasr import`: an experiment to transcribe, evaluate and fine-tune with.

    jaxasr transcribe THIS_FILE --workdir RUN speech.flac
    jaxasr eval THIS_FILE --workdir RUN
    jaxasr train THIS_FILE --workdir NEW_RUN --init-from RUN
    jaxasr train THIS_FILE:short --workdir NEW_RUN --init-from RUN      # or :lora, :hard

Source: Radford et al. 2022, 2212.04356. Every utterance is padded to {seconds:g} s, as in Whisper's training; `short`, `lora`
and `hard` do not pad, which costs less and needs the fine-tuning.
"""

from dataclasses import replace

from jaxasr import data, decode, nn, text, training
from jaxasr.experiment import Experiment, Split

TOKENS = text.ByteLevelBpe("{tokenizer}", vocab={vocab}, beside=__file__)
READ = (
    data.Normalize({training_form}),
    data.KeepSeconds(0.1, {seconds}),
    data.Tokenize(TOKENS),
    data.KeepTokens({most_tokens}),
)
SCORED = (data.Normalize("verbatim"), data.Tokenize(TOKENS))
SHAPES = data.ChooseBuckets(count=1, seconds_per_batch={batch_s}, quantum_s={seconds})  # {batch} utterances
SHORT = data.ChooseBuckets(count=4, seconds_per_batch={batch_s})  # for utterances of their own length
TUNED = data.ChooseBuckets(count=4, seconds_per_batch=48.0)
LETTERS = text.Characters(" 'abcdefghijklmnopqrstuvwxyz")
SUPPRESSED = decode.SuppressTokens(
    tokens={suppressed},
    first={suppressed_first},
)
LIMIT = decode.MaxTokens(0.0, {most_tokens})
SHORT_LIMIT = decode.MaxTokens({tokens_per_position}, {spare_tokens})  # {tokens_per_second:g} tokens a second
GREEDY = decode.Beam(1, scorers=(SUPPRESSED,), max_tokens=LIMIT)
BEAM = decode.Beam(5, length_norm=1.0, scorers=(SUPPRESSED,), max_tokens=LIMIT)


def _split(name: str, search: decode.Search) -> Split:
    corpus = data.Corpus({corpus}, name)
    return Split(data.Pipeline(corpus, SCORED, SHAPES, shuffle_seed=0), search, normalizer={normalizer})


def experiment() -> Experiment:
    """Returns the model with the prompt {prompt_names}, and a recipe for fine-tuning."""
    return Experiment(
        model=nn.Seq2Seq(
            frontend=nn.LogMel(
                bins={bins},
                low_hz=0.0,
                high_hz=8_000.0,
                normalize="peak",
                mel_scale="slaney",
                fft="window",
                edges="reflect",
                floor=1e-10,
                pad_s={seconds},
            ),
            encoder=nn.TransformerEncoder(
                {encoder_layers},
                {width},
                {encoder_heads},
                nn.TimeConvSubsampling(({width}, {width})),
                expansion={encoder_expansion},
                positions="table",
                max_positions={audio_positions},
                projection="none",
                activation="gelu",
                norm_epsilon=1e-5,
            ),
            decoder=nn.TransformerDecoder(
                {decoder_layers},
                {width},
                {decoder_heads},
                nn.DotAttention({width}, {decoder_heads}),
                vocab={vocab},
                expansion={decoder_expansion},
                max_tokens={most_tokens},
                activation="gelu",
                norm_epsilon=1e-5,
                positions="learned",
                max_positions={text_positions},
                embedding_scale="none",
                tied=True,
                prompt={prompt},
                alignment_heads={alignment_heads},
            ),
        ),
        train_data=data.Pipeline(data.Corpus({corpus}, {train}), READ, SHAPES, shuffle_seed=1),
        objective=training.Objective(),
        optimizer=training.Adam(training.WarmupCosine(50, 500, peak=1e-5), clip_norm=1.0),
        steps=500,
        validation=_split({validation}, GREEDY),
        evals={{
{evals}
        }},
        eval_every=100,
        save_every=100,
        log_every=10,
    )


def short() -> Experiment:
    """Returns a recipe for hours of speech, without padding: an utterance has as many encoder positions as it is long."""
    padded = experiment()
    masks = nn.SpecAugment(freq_masks=2, freq_bins=15, time_masks=2, time_frames=40, time_share=0.2)

    def cut(split: Split) -> Split:
        search = replace(split.search, max_tokens=SHORT_LIMIT)
        return replace(split, data=replace(split.data, shapes=SHORT), search=search)

    return replace(
        padded,
        model=padded.model.clone(frontend=padded.model.frontend.clone(pad_s=0.0), augment=masks),
        train_data=replace(padded.train_data, shapes=TUNED, transforms=(*READ, data.SpeedPerturb((0.9, 1.0, 1.1)))),
        objective=training.Objective(label_smoothing=0.1),
        optimizer=training.Adam(training.WarmupCosine(50, 450, peak=1e-4), clip_norm=1.0),
        steps=450,
        validation=cut(padded.validation),
        evals={{name: cut(split) for name, split in padded.evals.items()}},
        eval_every=150,
        save_every=150,
    )


def lora() -> Experiment:
    """Returns the recipe without padding that trains low-rank adapters alone (Hu et al. 2021, 2106.09685)."""
    whole = short()
    layers = nn.LowRank(("attention", "tokens", "context", "feed"), rank=8, alpha=16.0)
    return replace(
        whole,
        model=whole.model.clone(adapters=layers),
        freeze=training.Freeze((training.ALL_BUT_ADAPTERS,)),
        optimizer=training.Adam(training.WarmupCosine(50, 450, peak=1e-3), clip_norm=1.0),
    )


def hard() -> Experiment:
    """Returns a speller of letters with monotonic attention, trained on the encoder's frozen features."""
    stops = nn.WarmStart(nn.Softmax(), nn.Monotonic(bias=-1.0), until=300, change="ramp")
    speller = nn.Speller(1, 256, nn.AdditiveAttention(128, focus=stops), vocab=LETTERS.size, dropout=0.1)
    whole = short()
    spelt = (data.Normalize("lower"), data.Tokenize(LETTERS))
    search = decode.Beam(1, max_tokens=decode.MaxTokens(0.6, 8))

    def spell(split: Split) -> Split:
        return replace(split, data=replace(split.data, transforms=spelt), search=search)

    return replace(
        whole,
        model=whole.model.clone(decoder=speller, ctc=nn.CtcHead(LETTERS.size)),
        train_data=replace(whole.train_data, transforms=(data.KeepSeconds(0.1, {seconds}), *spelt)),
        objective=training.Objective(ctc_weight=0.3, label_smoothing=0.1),
        freeze=training.Freeze(("^encoder/",)),
        optimizer=training.Adam(training.WarmupCosine(50, 1_000, peak=2e-3), clip_norm=1.0),
        steps=1_000,
        eval_every=500,
        save_every=500,
        validation=spell(whole.validation),
        evals={{name: spell(split) for name, split in whole.evals.items() if not name.endswith("-beam5")}},
    )
'''


@dataclass(frozen=True)
class ImportOptions:
    """The choices of an import that the checkpoint leaves open."""

    corpus: str = "my_corpus"  # the prepared corpus of the experiment; it need not exist to transcribe
    train: str = "train"
    validation: str = "test"
    evals: tuple[str, ...] = ("test",)
    training_form: str = "lower"  # of the transcripts that a fine-tuning learns, one of text.KINDS
    language: str = "en"
    task: str = "transcribe"

    def __post_init__(self):
        if self.training_form not in KINDS:
            raise ValueError(f"there is no text normaliser {self.training_form!r}; there are {', '.join(KINDS)}")


def prompt_of(config: WhisperConfig, tokenizer: ByteLevelBpe, options: ImportOptions) -> tuple[str, ...]:
    """Returns the names of the tokens of the prompt: start, language and task of a multilingual model, no timestamps.

    Raises:
        ValueError: an English model and another language or task.
    """
    start = "<|startoftranscript|>"
    text_alone = "<|notimestamps|>"
    if config.multilingual:
        return (start, f"<|{options.language}|>", f"<|{options.task}|>", text_alone)
    if (options.language, options.task) != ("en", "transcribe"):
        raise ValueError(
            f"the checkpoint is for the transcription of English alone, and --language {options.language} --task "
            f"{options.task} ask for more; take a multilingual checkpoint"
        )
    return (start, text_alone)


def experiment_text(title: str, config: WhisperConfig, tokenizer: ByteLevelBpe, options: ImportOptions) -> str:
    """Returns the text of the experiment file.

    Raises:
        ValueError: the tokenizer lacks a token of the prompt, or the model has no such language or task.
    """
    names = prompt_of(config, tokenizer, options)
    splits = [(name, json.dumps(name)) for name in options.evals]
    evals = [f"            {text}: _split({text}, GREEDY)," for _, text in splits]
    evals += [f"            {json.dumps(f'{name}-beam5')}: _split({text}, BEAM)," for name, text in splits]
    most_tokens = config.text_positions // 2
    spare_tokens = most_tokens // 16
    per_position = round((most_tokens - spare_tokens) / config.audio_positions, 6)
    english = options.language == "en" or options.task == "translate"
    return _TEMPLATE.format(
        title=re.sub(r"[^\w.-]+", " ", title),
        tokenizer=TOKENIZER,
        vocab=config.vocab,
        seconds=config.seconds,
        batch=_BATCH,
        batch_s=_BATCH * config.seconds,
        most_tokens=most_tokens,
        spare_tokens=spare_tokens,
        tokens_per_position=per_position,
        tokens_per_second=round(per_position * config.audio_positions / config.seconds, 3),
        suppressed=tuple(sorted(map(tokenizer.token, config.suppressed))),
        suppressed_first=tuple(sorted(map(tokenizer.token, config.suppressed_first))),
        normalizer=json.dumps("whisper_english" if english else "whisper_basic"),
        prompt_names="".join(names),
        prompt=tuple(map(tokenizer.special, names)),
        alignment_heads=config.alignment_heads,
        bins=config.bins,
        width=config.width,
        encoder_layers=config.encoder_layers,
        encoder_heads=config.encoder_heads,
        encoder_expansion=config.encoder_ffn / config.width,
        audio_positions=config.audio_positions,
        decoder_layers=config.decoder_layers,
        decoder_heads=config.decoder_heads,
        decoder_expansion=config.decoder_ffn // config.width,
        text_positions=config.text_positions,
        corpus=json.dumps(options.corpus),
        train=json.dumps(options.train),
        validation=json.dumps(options.validation),
        training_form=json.dumps(options.training_form),
        evals="\n".join(evals),
    )
