"""Fitting a diagram to an image: start, schedule, density control and the loop over them."""
