"""How near one image is to another, and one set of images to another."""

from residiff.metrics.colour import luma, rgb2ycbcr
from residiff.metrics.delta_e import delta_e_2000
from residiff.metrics.frechet import Moments, RandomFeatures, RunningMoments, frechet_distance, image_moments, moments
from residiff.metrics.lab import LabError, lab_d50, lab_d65, lab_error
from residiff.metrics.resize import Rounding, imresize, opencv_resize, pillow_resize
from residiff.metrics.scales import ms_ssim
from residiff.metrics.similarity import masked_psnr, masked_ssim, psnr, ssim, ssim_of_channels
from residiff.metrics.volume import volume_ssim
from residiff.metrics.windows import GAUSSIAN, UNIFORM, Window

__all__ = [
    "GAUSSIAN",
    "UNIFORM",
    "LabError",
    "Moments",
    "RandomFeatures",
    "Rounding",
    "RunningMoments",
    "Window",
    "delta_e_2000",
    "frechet_distance",
    "image_moments",
    "imresize",
    "lab_d50",
    "lab_d65",
    "lab_error",
    "luma",
    "masked_psnr",
    "masked_ssim",
    "moments",
    "ms_ssim",
    "opencv_resize",
    "pillow_resize",
    "psnr",
    "rgb2ycbcr",
    "ssim",
    "ssim_of_channels",
    "volume_ssim",
]
