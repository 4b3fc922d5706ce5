"""Segmenters: an image and a prompt in, detections out."""
