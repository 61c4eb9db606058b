"""Rate and distortion over many images: `sweep` measures, `table` prints, `peers` compares."""
