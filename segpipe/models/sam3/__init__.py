"""What segmenters and refiners share of SAM 3: its checkpoint, its square, its tracker."""
