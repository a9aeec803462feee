"""The choice of a source by the arguments of `jaxasr prepare`, and the recipe that names it on disk."""

from pathlib import Path

import pytest

from jaxasr.data.corpora.choose import recipe, source
from jaxasr.data.corpora.librispeech import Librispeech
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.corpora.spoken import SpokenPhrases
from jaxasr.data.corpora.tfds_corpus import TfdsCorpus


def test_sources_are_named_and_their_options_checked(tiny_folder: Path):
    assert source("manifest", tiny_folder, {"name": "mine"}) == Manifest(tiny_folder, "mine")
    assert source("spoken", None, {"train": "20"}) == SpokenPhrases(train=20)
    parts = ("dev-clean", "test-clean")
    assert source("librispeech", None, {"parts": "dev-clean, test-clean"}) == Librispeech(None, parts=parts)
    with pytest.raises(KeyError, match="no corpus 'an5'; there are manifest, an4, librispeech, spoken, tfds"):
        source("an5", tiny_folder, {})
    with pytest.raises(KeyError, match=r"'an4' has no option split_column; it has name, and its folder .* --from"):
        source("an4", tiny_folder, {"split_column": "x"})
    with pytest.raises(
        KeyError, match=r"'manifest' has no option folder; it has name, split_column, split, .*, and its folder"
    ):
        source("manifest", tiny_folder, {"folder": "elsewhere"})
    with pytest.raises(KeyError, match=r"'spoken' has no option folder; it has name, train, dev, test, seed\W*$"):
        source("spoken", None, {"folder": "elsewhere"})
    with pytest.raises(ValueError, match="option train is 'many'; a whole number"):
        source("spoken", None, {"train": "many"})
    with pytest.raises(ValueError, match="give it with --from"):
        source("an4", None, {})
    with pytest.raises(ValueError, match="made here, not read"):
        source("spoken", tiny_folder, {})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        source("an4", tiny_folder / "nowhere", {})


def test_recipes_on_disk_keep_the_names_of_the_first_version(tmp_path: Path):
    assert recipe(SpokenPhrases(train=20)) == "Spoken name=spoken train=20 dev=100 test=150 seed=0"
    assert recipe(TfdsCorpus(tmp_path, "libri")) == "Stock name=libri text=text speaker=speaker_id id=id"
    assert recipe(Manifest(tmp_path, "mine")) == "Manifest name=mine split_column=split"
