"""``python -m sadcodec`` is the command ``sad``."""

from .cli import main

if __name__ == "__main__":
    main()
