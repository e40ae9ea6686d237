# Who may do what with the containers. The pages have no right there: they read the warehouse only.

resource "azurerm_user_assigned_identity" "task" {
  for_each            = toset(["core", "pages", "stream"])
  name                = "${var.name}-${each.value}"
  resource_group_name = azurerm_resource_group.kpi.name
  location            = azurerm_resource_group.kpi.location
  tags                = var.labels
}

# List, read and put, and no right to delete: a landed object is immutable.
resource "azurerm_role_definition" "land" {
  name        = "${var.name}-land"
  scope       = azurerm_storage_account.lake.id
  description = "Lists, reads and puts the objects of kpi_assets, and deletes none."

  permissions {
    actions = ["Microsoft.Storage/storageAccounts/blobServices/containers/read"]
    data_actions = [
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    ]
  }
  assignable_scopes = [azurerm_storage_account.lake.id]
}

resource "azurerm_role_assignment" "land" {
  for_each           = toset(["core", "stream"])
  scope              = azurerm_storage_account.lake.id
  role_definition_id = azurerm_role_definition.land.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.task[each.value].principal_id
}
