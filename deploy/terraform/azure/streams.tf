# Event Hubs, which speaks Kafka's protocol: one hub for each stream of a pipeline.

resource "azurerm_eventhub_namespace" "events" {
  count                    = length(var.streams) > 0 ? 1 : 0
  name                     = "${var.name}-events"
  resource_group_name      = azurerm_resource_group.kpi.name
  location                 = azurerm_resource_group.kpi.location
  sku                      = "Standard" # Kafka's protocol begins here
  capacity                 = 1
  auto_inflate_enabled     = true
  maximum_throughput_units = 10
  minimum_tls_version      = "1.2"
  tags                     = var.labels
}

resource "azurerm_eventhub" "events" {
  for_each        = var.streams
  name            = each.key
  namespace_id    = azurerm_eventhub_namespace.events[0].id
  partition_count = each.value.partitions

  retention_description {
    cleanup_policy          = "Delete"
    retention_time_in_hours = each.value.hours
  }
}

# What lands the streams may listen; producers get rights of their own.
resource "azurerm_eventhub_namespace_authorization_rule" "listen" {
  count               = length(var.streams) > 0 ? 1 : 0
  name                = "kpi-stream"
  namespace_name      = azurerm_eventhub_namespace.events[0].name
  resource_group_name = azurerm_resource_group.kpi.name
  listen              = true
  send                = false
  manage              = false
}
