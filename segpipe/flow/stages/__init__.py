"""The stages of a deal: one file each, all of them in ``registry``."""
