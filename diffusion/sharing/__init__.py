"""Share runs: recipes in pictures, links, scripts."""
