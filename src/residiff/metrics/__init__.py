"""How near one image is to another."""

from residiff.metrics.similarity import masked_psnr, psnr, ssim

__all__ = ["masked_psnr", "psnr", "ssim"]
