"""The generator of `instacart`: a catalog, orders and their baskets, as the public data set has them."""
