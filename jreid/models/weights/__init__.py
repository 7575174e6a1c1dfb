"""Reads weight files, one module per format, without importing the program that wrote them."""
