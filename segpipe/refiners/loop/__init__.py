"""Sharpen coarse masks by asking a promptable model again and again: SAMRefiner's loop.

A refinement reads: refiner (one model, one thread) -> loop -> item (a mask and its guards) ->
prompts -> views (onto the model's square) -> decoder -> cleaning. ``decoder.py`` says what a model
has to offer, and ``sam.py`` is what those of the SAM family share; it alone imports torch.
"""
