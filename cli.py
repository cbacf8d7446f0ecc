"""Run `wp` from a checkout: python cli.py."""

from wavepaint.cli import main

main()
