terraform {
  required_version = ">= 1.5"
  required_providers {
    azurerm = { source = "hashicorp/azurerm", version = ">= 5.10, < 6.0" }
    random  = { source = "hashicorp/random", version = ">= 3.6, < 4.0" }
  }
}
