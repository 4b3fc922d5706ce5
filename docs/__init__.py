"""The documentation: its pages, and the scripts that make its pictures and its reference."""
