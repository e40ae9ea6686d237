"""Copies the tree below `sql/` into the wheel. Everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SQL = Path("sql")  # setuptools runs this file in its own folder
SHIPPED = Path("kpi_assets/shipped_sql")  # kpi_assets.settings.default_sql_dir() looks here


class BuildWithSql(build_py):
    """Builds the package with a copy of the tree. An editable install reads the tree itself."""

    def run(self) -> None:
        """Copy the modules, then replace the copy of the tree."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / SHIPPED
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(SQL, target)

    def get_source_files(self) -> list[str]:
        """Return the files of a source distribution, including the tree."""
        return [*super().get_source_files(), *(str(path) for path in sorted(SQL.rglob("*")) if path.is_file())]


setup(cmdclass={"build_py": BuildWithSql})
