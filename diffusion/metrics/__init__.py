"""How close samples are to data: features, FID, KID, nearest neighbours."""
