"""`python -m kpi_assets.cli`: the command `kpi`, for processes that start one with the same Python."""

from kpi_assets.cli import main

if __name__ == "__main__":
    main()
