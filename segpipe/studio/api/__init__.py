"""What the studio answers to its own pages and to programs: JSON, and pictures."""
