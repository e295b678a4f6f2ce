"""The numbers that each chapter of the derivation shows; the app draws them."""
