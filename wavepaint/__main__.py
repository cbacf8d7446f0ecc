"""``python -m wavepaint`` runs the command line."""

from wavepaint.cli import main

main()
