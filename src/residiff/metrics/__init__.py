"""How near one image is to another, and one set of images to another."""

from residiff.metrics.colour import luma, rgb2ycbcr
from residiff.metrics.frechet import Moments, RandomFeatures, frechet_distance, image_moments, moments
from residiff.metrics.resize import Rounding, imresize, opencv_resize, pillow_resize
from residiff.metrics.similarity import masked_psnr, psnr, ssim

__all__ = [
    "Moments",
    "RandomFeatures",
    "Rounding",
    "frechet_distance",
    "image_moments",
    "imresize",
    "luma",
    "masked_psnr",
    "moments",
    "opencv_resize",
    "pillow_resize",
    "psnr",
    "rgb2ycbcr",
    "ssim",
]
