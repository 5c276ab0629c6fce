"""`python -m pipeline` is `trainwatch`."""

from pipeline.cli import main

if __name__ == "__main__":
    main(prog_name="trainwatch")
