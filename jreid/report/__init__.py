"""A page that shows finished runs: one HTML file, images within it, no server."""
