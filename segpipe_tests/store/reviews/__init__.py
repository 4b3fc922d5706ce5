"""Tests of reviews as documents, files and operations."""
