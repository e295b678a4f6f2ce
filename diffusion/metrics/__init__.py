"""How near samples are to data: features, FID, KID, nearest neighbours."""
