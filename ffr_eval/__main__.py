"""``python -m ffr_eval`` is ``ffr``."""

from ffr_eval.cli.main import main

if __name__ == "__main__":
    main()
