"""How near one image is to another, and one set of images to another."""

from residiff.metrics.colour import luma, rgb2ycbcr
from residiff.metrics.delta_e import delta_e_2000
from residiff.metrics.dists import DISTS
from residiff.metrics.frechet import Moments, RandomFeatures, RunningMoments, frechet_distance, image_moments, moments
from residiff.metrics.inception import Inception, fid_inception, torchvision_inception
from residiff.metrics.inception_inputs import (
    InceptionFeatures,
    ScoreClasses,
    pytorch_fid_input,
    score_input,
    tensorflow_input,
)
from residiff.metrics.inception_scores import InceptionScore, inception_score
from residiff.metrics.kernel import KernelDistance, kernel_distance, squared_mmd
from residiff.metrics.lab import LabError, lab_d50, lab_d65, lab_error
from residiff.metrics.lpips import LPIPS, alex_lpips, vgg_lpips
from residiff.metrics.naturalness import Pristine, fit_pristine, matlab_grey, niqe
from residiff.metrics.resize import Rounding, imresize, opencv_resize, pillow_resize
from residiff.metrics.scales import ms_ssim
from residiff.metrics.similarity import masked_psnr, masked_ssim, psnr, ssim, ssim_of_channels
from residiff.metrics.volume import volume_ssim
from residiff.metrics.windows import GAUSSIAN, UNIFORM, Window

__all__ = [
    "DISTS",
    "GAUSSIAN",
    "LPIPS",
    "UNIFORM",
    "Inception",
    "InceptionFeatures",
    "InceptionScore",
    "KernelDistance",
    "LabError",
    "Moments",
    "Pristine",
    "RandomFeatures",
    "Rounding",
    "RunningMoments",
    "ScoreClasses",
    "Window",
    "alex_lpips",
    "delta_e_2000",
    "fid_inception",
    "fit_pristine",
    "frechet_distance",
    "image_moments",
    "imresize",
    "inception_score",
    "kernel_distance",
    "lab_d50",
    "lab_d65",
    "lab_error",
    "luma",
    "masked_psnr",
    "masked_ssim",
    "matlab_grey",
    "moments",
    "ms_ssim",
    "niqe",
    "opencv_resize",
    "pillow_resize",
    "psnr",
    "pytorch_fid_input",
    "rgb2ycbcr",
    "score_input",
    "squared_mmd",
    "ssim",
    "ssim_of_channels",
    "tensorflow_input",
    "torchvision_inception",
    "vgg_lpips",
    "volume_ssim",
]
