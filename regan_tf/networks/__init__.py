"""The networks: LSTM, generator and discriminator, and what is asked of a generator."""
