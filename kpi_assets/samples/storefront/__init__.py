"""The generator of `storefront`: whole tables of a shop as exported each day, some of whose values are dirty."""
