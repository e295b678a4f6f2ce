"""One file a tab: its layout, then its handlers, each a thin call of a pure function."""
