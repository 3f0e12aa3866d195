"""`python -m unetlab`."""

from unetlab.cli import main

if __name__ == "__main__":
    main()
