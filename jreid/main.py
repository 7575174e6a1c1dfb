"""Runs `python -m jreid.main --config=configs/PAIR.py:VARIANT`, which is `jreid train`."""

import sys

from jreid.commands import allocation, train

main = train.main

if __name__ == '__main__':
    allocation.start_again()
    train.run(sys.argv)
