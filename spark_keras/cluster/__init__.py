"""The one door to Spark: its session, JVM, configuration, jobs and file systems."""
