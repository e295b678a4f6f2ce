"""What every screen is built from: words as HTML, pictures, charts, events, progress."""
