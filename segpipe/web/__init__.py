"""What every web face shares: who may ask, how much and how long, errors, streams, photos."""
