"""Pure functions on arrays: no parameters, no Flax, no files. Used by module: `from jaxasr.ops import masks`.

masks        lengths to masks
random       keys, bytes and dropout by example
features     waves to log-mel frames, and their normalisation
specaugment  time warp, frequency and time masks
noise        additive noise at a random level
lstm         the recurrence
gru          the same with gated recurrent units
directions   what the two share
pooling      maxima over neighbours
attention    scores to weights to contexts
positions    sinusoids, rotations, distances
depthwise    a convolution over time of each channel by itself
ctc          which utterances CTC can align, and its best path
ctc_alignment  when each token is said, by the likeliest CTC path
losses       cross-entropy and CTC, one number an example
contexts     the contexts of an n-gram model as an automaton (NumPy)
backoff      n-gram models of tokens, looked up on the device
word_backoff n-gram models of words over tokens that spell them
"""
