"""How near one image is to another, and one set of images to another."""

from residiff.metrics.frechet import Moments, RandomFeatures, frechet_distance, image_moments, moments
from residiff.metrics.similarity import masked_psnr, psnr, ssim

__all__ = [
    "Moments",
    "RandomFeatures",
    "frechet_distance",
    "image_moments",
    "masked_psnr",
    "moments",
    "psnr",
    "ssim",
]
