"""``python -m sadcodec`` is the command ``sad``."""

from sadcodec.cli import main

if __name__ == "__main__":
    main()
