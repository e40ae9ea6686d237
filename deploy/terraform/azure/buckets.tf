# One storage account with a container for each pipeline. Objects are immutable: versions and deleted blobs are kept.

resource "azurerm_resource_group" "kpi" {
  name     = var.name
  location = var.location
  tags     = var.labels
}

resource "azurerm_storage_account" "lake" {
  name                            = "${var.name}lake"
  resource_group_name             = azurerm_resource_group.kpi.name
  location                        = azurerm_resource_group.kpi.location
  account_tier                    = "Standard"
  account_replication_type        = var.postgres.standby ? "ZRS" : "LRS"
  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  allow_nested_items_to_be_public = false
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
  tags                            = var.labels

  blob_properties {
    versioning_enabled = true
    delete_retention_policy {
      days = 30
    }
  }

  # The subnets of the tasks need the service endpoint Microsoft.Storage.
  network_rules {
    default_action             = "Deny"
    bypass                     = ["AzureServices"]
    virtual_network_subnet_ids = var.network.task_subnets
    ip_rules                   = [for each in var.reader_networks : each if !startswith(each, "10.") && !startswith(each, "192.168.")]
  }
}

resource "azurerm_storage_container" "lake" {
  for_each              = var.buckets
  name                  = each.value
  storage_account_id    = azurerm_storage_account.lake.id
  container_access_type = "private"
}

# A large object is put together below .kpi-uploads/ and copied to its key. No task may delete what it leaves there, so
# Azure does: the object and its versions after a day, and what it keeps of deleted ones after 30 more.
resource "azurerm_storage_management_policy" "lake" {
  storage_account_id = azurerm_storage_account.lake.id

  dynamic "rule" {
    for_each = azurerm_storage_container.lake
    content {
      name    = "uploads-${rule.key}"
      enabled = true

      filters {
        blob_types   = ["blockBlob"]
        prefix_match = ["${rule.value.name}/.kpi-uploads/"]
      }
      actions {
        base_blob {
          delete_after_days_since_creation_greater_than = 1
        }
        version {
          delete_after_days_since_creation = 1
        }
      }
    }
  }
}
