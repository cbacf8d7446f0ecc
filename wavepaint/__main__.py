"""Run the command line: python -m wavepaint."""

from wavepaint.cli import main

main()
