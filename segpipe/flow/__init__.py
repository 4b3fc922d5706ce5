"""What happens to one deal: plain functions, one file a stage, no Dagster.

The road is ``deal``: it leads each photo through ``photo``, ``segmentation``, ``dedup``,
``refinement``, ``crops`` and ``report``. ``stages`` and ``settings`` say what there is, ``tools``
what a run works with; ``upstream`` reads and ``writer`` writes versions. ``batch`` and
``staleness`` decide what is left to do, ``checks`` looks at what was promoted.
"""
