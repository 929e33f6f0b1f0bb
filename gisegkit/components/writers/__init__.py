"""Writers: what predictions become."""
