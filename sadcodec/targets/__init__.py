"""What an encode aims at: bytes, a number of sites, a PSNR or a quality."""
