"""`python -m gateway`: the same as the command `edge-gateway`."""

from gateway.cli import main

main()
