"""Inpainters by configuration: the only place that maps a kind to a class."""

from typing import Annotated

from pydantic import Field

from segpipe.inpainters.diffusers import DiffusersConfig, DiffusersInpainter
from segpipe.inpainters.inpainter import Inpainter
from segpipe.inpainters.opencv import OpenCvConfig, OpenCvInpainter
from segpipe.inpainters.service_inpainter import ServiceInpainter, ServiceInpainterConfig

AnyInpainterConfig = OpenCvConfig | ServiceInpainterConfig | DiffusersConfig
InpainterConfig = Annotated[AnyInpainterConfig, Field(discriminator="kind")]
"""Every inpainter that can be configured, told apart by ``kind``."""


def build_inpainter(config: AnyInpainterConfig) -> Inpainter:
    """Build the inpainter that a configuration describes.

    >>> build_inpainter(OpenCvConfig(method="ns")).id
    'opencv-ns'

    Raises:
        ConfigError: A setting cannot work.
    """
    match config:
        case OpenCvConfig():
            return OpenCvInpainter(config)
        case ServiceInpainterConfig():
            return ServiceInpainter(config)
        case DiffusersConfig():
            return DiffusersInpainter(config)
