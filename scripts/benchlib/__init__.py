"""The reading benchmark: one data set, several systems that show it as files, one reader, interleaved rounds."""
