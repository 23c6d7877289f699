"""How near one image is to another, and one set of images to another."""

from residiff.metrics.frechet import Moments, RandomFeatures, frechet_distance, image_moments, moments
from residiff.metrics.scales import ms_ssim
from residiff.metrics.similarity import masked_psnr, masked_ssim, psnr, ssim, ssim_of_channels
from residiff.metrics.volume import volume_ssim
from residiff.metrics.windows import GAUSSIAN, UNIFORM, Window

__all__ = [
    "GAUSSIAN",
    "UNIFORM",
    "Moments",
    "RandomFeatures",
    "Window",
    "frechet_distance",
    "image_moments",
    "masked_psnr",
    "masked_ssim",
    "moments",
    "ms_ssim",
    "psnr",
    "ssim",
    "ssim_of_channels",
    "volume_ssim",
]
