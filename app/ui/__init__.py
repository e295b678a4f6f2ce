"""Building blocks of every tab: HTML, pictures, charts, events, links, uploads, progress."""
