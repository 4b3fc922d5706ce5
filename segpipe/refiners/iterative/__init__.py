"""Sharpen coarse masks by asking a promptable model again and again: SAMRefiner's loop.

A refinement reads: item (a mask and its guards) -> prompts -> views (onto the model's square) ->
decoder -> loop -> cleaning. ``decoder.py`` says what a model has to offer.
"""
