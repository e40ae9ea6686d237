# The warehouse, with the database of the Dagster instance. `kpi bootstrap` makes the logins below the administrator.

resource "random_password" "login" {
  for_each = toset(["admin", "app", "serve"])
  length   = 40
  special  = false # it stands in a URL
}

resource "aws_db_subnet_group" "warehouse" {
  name       = "${var.name}-warehouse"
  subnet_ids = var.network.database_subnets
  tags       = var.labels
}

resource "aws_security_group" "warehouse" {
  name        = "${var.name}-warehouse"
  description = "The warehouse of kpi_assets: its tasks connect, nobody else."
  vpc_id      = var.network.id
  tags        = var.labels
}

resource "aws_vpc_security_group_ingress_rule" "warehouse" {
  security_group_id            = aws_security_group.warehouse.id
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

# BI tools ask the warehouse too, with logins of their own in the role kpi_reader.
resource "aws_vpc_security_group_ingress_rule" "readers_of_warehouse" {
  for_each          = toset(var.reader_networks)
  security_group_id = aws_security_group.warehouse.id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}

resource "aws_db_parameter_group" "warehouse" {
  name   = "${var.name}-warehouse"
  family = "postgres${var.postgres.version}"
  tags   = var.labels

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "max_wal_size" # in MB: a load fits between two checkpoints
    value = "8192"
  }
  parameter {
    name         = "max_connections"
    value        = "200"
    apply_method = "pending-reboot"
  }
}

resource "aws_db_instance" "warehouse" {
  identifier                = "${var.name}-warehouse"
  engine                    = "postgres"
  engine_version            = var.postgres.version
  instance_class            = var.postgres.size
  allocated_storage         = var.postgres.storage_gb
  storage_type              = "gp3"
  storage_encrypted         = true
  multi_az                  = var.postgres.standby
  backup_retention_period   = var.postgres.backup_days
  username                  = "kpi_admin"
  password                  = random_password.login["admin"].result
  db_subnet_group_name      = aws_db_subnet_group.warehouse.name
  vpc_security_group_ids    = [aws_security_group.warehouse.id]
  parameter_group_name      = aws_db_parameter_group.warehouse.name
  publicly_accessible       = false
  deletion_protection       = true
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-warehouse-last"
  tags                      = var.labels
}

locals {
  postgres_host = aws_db_instance.warehouse.address
  postgres_urls = {
    for login, user in { admin = "kpi_admin", app = "kpi_app", serve = "kpi_serve" } :
    login => "postgresql://${user}:${random_password.login[login].result}@${local.postgres_host}:5432/postgres?sslmode=require"
  }
}
