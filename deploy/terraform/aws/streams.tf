# One Kinesis stream for each stream of a pipeline. Producers put records with the entity as partition key.

resource "aws_kinesis_stream" "events" {
  for_each         = var.streams
  name             = each.key
  shard_count      = each.value.partitions
  retention_period = each.value.hours
  encryption_type  = "KMS"
  kms_key_id       = "alias/aws/kinesis"
  tags             = var.labels
}
