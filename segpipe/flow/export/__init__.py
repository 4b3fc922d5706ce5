"""The current results of many deals in the formats of other tools."""
