"""Events as data: one row an event, in JSON lines or Parquet, for a scan elsewhere or a whole fleet's."""
