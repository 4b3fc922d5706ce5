"""What every model that torch runs needs: its weights, a device, and words for its faults.

Segmenters and refiners stand on it. torch is imported by ``device``, ``pretrained`` and the
modules of ``sam3`` that compute, never by settings.
"""
