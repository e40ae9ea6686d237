"""Files that `kpi init` writes into a new project, as they are; `project/` is the root of one."""
