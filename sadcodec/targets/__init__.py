"""Targets other than bytes: a PSNR, and a quality."""
