// For sources that ask whether CUDA's headers are there; none of its types are.
