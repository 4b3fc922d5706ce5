"""The formats of labelling and training tools: each has one file, which writes and reads it."""
