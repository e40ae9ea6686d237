"""The generator of `ecommerce`: orders as JSON, events as CSV and, on Mondays, the products of an online shop."""
