"""`python -m dynamicrag_cli` is `drag`."""

from dynamicrag_cli.cli.main import main

if __name__ == "__main__":
    main()
