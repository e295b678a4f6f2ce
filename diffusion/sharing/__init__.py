"""What leaves the program and comes back: recipes in pictures, links, scripts."""
