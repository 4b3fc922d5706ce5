"""What release 0.1 stored and promised, pinned before the code moves.

Two kinds of pins are in ``data``. What release 0.1 wrote (``release_0_1.tar.xz`` and what is read
from it) never changes: every later release reads it. What is written and answered today
(``written-*``, ``sent-*``, ``http-*``, ``openapi``, ``launchpad``, …) changes only by an issue that
says so, such as a new stage, and never by a refactoring.

Tests enter by doors that outlive one: the command line, HTTP, Dagster's definitions, files. Only
``test_cache_keys`` imports from inside.
"""
