"""`python -m services.witness` is `goodstrace witness`."""

from services.witness.command import witness

if __name__ == "__main__":
    witness()
