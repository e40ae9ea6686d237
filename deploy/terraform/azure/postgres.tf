# The warehouse, with the database of the Dagster instance. `kpi bootstrap` makes the logins below the administrator.

resource "random_password" "login" {
  for_each = toset(["admin", "app", "serve"])
  length   = 40
  special  = false # it stands in a URL
}

resource "azurerm_private_dns_zone" "warehouse" {
  name                = "${var.name}.postgres.database.azure.com"
  resource_group_name = azurerm_resource_group.kpi.name
  tags                = var.labels
}

resource "azurerm_private_dns_zone_virtual_network_link" "warehouse" {
  name                = var.name
  private_dns_zone_id = azurerm_private_dns_zone.warehouse.id
  virtual_network_id  = var.network.id
  tags                = var.labels
}

# The server listens in its own subnet, which is delegated to Microsoft.DBforPostgreSQL/flexibleServers.
resource "azurerm_postgresql_flexible_server" "warehouse" {
  name                          = "${var.name}-warehouse"
  resource_group_name           = azurerm_resource_group.kpi.name
  location                      = azurerm_resource_group.kpi.location
  version                       = var.postgres.version
  sku_name                      = var.postgres.size
  storage_mb                    = var.postgres.storage_gb * 1024
  backup_retention_days         = var.postgres.backup_days
  administrator_login           = "kpi_admin"
  administrator_password        = random_password.login["admin"].result
  delegated_subnet_id           = var.network.database_subnets[0]
  private_dns_zone_id           = azurerm_private_dns_zone.warehouse.id
  public_network_access_enabled = false
  tags                          = var.labels

  dynamic "high_availability" {
    for_each = var.postgres.standby ? ["ZoneRedundant"] : []
    content {
      mode = high_availability.value
    }
  }

  lifecycle {
    prevent_destroy = true
    ignore_changes  = [zone, high_availability[0].standby_availability_zone] # a failover exchanges them
  }

  depends_on = [azurerm_private_dns_zone_virtual_network_link.warehouse]
}

resource "azurerm_postgresql_flexible_server_configuration" "warehouse" {
  for_each = {
    require_secure_transport = "on"
    max_wal_size             = "8192" # in MB: a load fits between two checkpoints
    max_connections          = "200"
  }
  name      = each.key
  server_id = azurerm_postgresql_flexible_server.warehouse.id
  value     = each.value
}

locals {
  postgres_host = azurerm_postgresql_flexible_server.warehouse.fqdn
  postgres_urls = {
    for login, user in { admin = "kpi_admin", app = "kpi_app", serve = "kpi_serve" } :
    login => "postgresql://${user}:${random_password.login[login].result}@${local.postgres_host}:5432/postgres?sslmode=require"
  }
}
