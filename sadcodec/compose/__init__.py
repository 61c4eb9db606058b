"""Bitmap primitives: a picture made of many small pictures, fitted by gradients."""
