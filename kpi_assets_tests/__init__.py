"""Tests of kpi_assets, on real embedded servers; the folders mirror the packages."""
