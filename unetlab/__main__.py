"""`python -m unetlab`."""

from unetlab.cli.main import main

if __name__ == "__main__":
    main()
