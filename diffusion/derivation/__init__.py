"""What each chapter of the derivation shows, as numbers; the app draws them."""
