"""Recurrent layers as functions: LSTM, GRU, the two directions, the decoder's scan."""
