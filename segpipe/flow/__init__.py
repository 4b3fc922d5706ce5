"""What happens to one deal: plain functions, no Dagster.

``deal`` puts each photo through the stages of ``stages/stage_registry``, which are one file each;
``writer`` writes what they give, ``results`` reads it back. ``run_settings`` and ``tools`` are what
a run works with. ``todo`` says whether a deal needs a run and why, ``run_deal`` does what is left
of it and keeps failures on record, ``finds`` puts what was found among the prompts.
"""
